"""How the offline model answers.

General: `conversation` reads what it is asked, `planner` decides on the next step.
About tables: `table` holds a dataset's profile, `question` reads what a person asks of it,
`sql` writes the query, `findings` plans several of them and says what came out,
`analysis` ties all this to the data tools.
About messages: `requests` reads what each part asks for, `telling` says what tools returned,
`assistant` ties both to the tools and to what was said before.
About pages: `ranking` finds the sentences that answer a question, `research` cites them.
"""
