"""A model that does as the request says, to see what the platform makes of it."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path


def init():
    print("tiny model", os.environ.get("VERSION"))


def run(raw_data):
    asked = json.loads(raw_data)
    if asked.get("raise"):
        raise ValueError(asked["raise"])
    if asked.get("kill"):
        os.kill(os.getppid(), 9)
    if asked.get("exit"):
        os._exit(1)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]).pid if asked.get("child") else None
    time.sleep(asked.get("sleep", 0) + float(os.environ.get("EXTRA_S", "0")))
    return {
        "pid": os.getpid(),
        "child": child,
        "version": os.environ.get("VERSION"),
        "environment": dict(os.environ) if asked.get("environment") else None,
        "model": [path.name for path in Path(os.environ["AZUREML_MODEL_DIR"]).iterdir()],
    }
