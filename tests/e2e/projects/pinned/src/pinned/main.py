from pinned.crew import Pinned


def run():
    inputs = {"what": "versions", "limit": 1 + 1}
    Pinned().crew().kickoff(inputs=inputs)
