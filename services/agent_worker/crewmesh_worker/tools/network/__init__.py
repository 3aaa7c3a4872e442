"""The one way in which tools reach the network.

`addresses`, `urls`, `policy` and `redirects` decide what may be reached, and touch nothing;
`resolver` applies that to every look-up and every socket; `pace` and `robots` keep it polite;
`client` puts them together; `run` gives tools, which aren't asynchronous, their run's client.
"""
