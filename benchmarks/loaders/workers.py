"""One copy, its partitions loaded by several processes: ``python workers.py PROCESSES PARTITION_MIB COLLECTION``.

The first process opens the run, makes the plan and publishes; the others only get plain JSON, as on other machines.
"""

import json
import subprocess
import sys

import pipeline


def lead(processes: int, partition_mib: int, collection: str) -> None:
    """Copy a collection by so many processes."""
    from pipeline.replication import replicate

    replicate.PARTITION_BYTES = partition_mib * 2**20
    with pipeline.connect(pipeline.Settings.load()) as connections:
        run = pipeline.open_run(connections, [collection], pipeline.TARGETS, single_process=False)
        partitions = [one.as_json() for one in pipeline.plan_run(connections, run)]
        command = [sys.executable, __file__, json.dumps(run.as_json())]
        shares = [partitions[number::processes] for number in range(processes)]
        workers = [subprocess.Popen([*command, json.dumps(share)]) for share in shares if share]
        if any(worker.wait() for worker in workers):
            sys.exit("a worker failed")
        print(len(partitions), "partitions", pipeline.publish_run(connections, run))


def work(run: str, partitions: str) -> None:
    """Load some partitions of a run."""
    with pipeline.connect(pipeline.Settings.load()) as connections:
        for values in json.loads(partitions):
            partition = pipeline.Partition.from_json(values)
            pipeline.load_partition(connections, pipeline.Run.from_json(json.loads(run)), partition)


if __name__ == "__main__":
    pipeline.tune_environment()
    pipeline.tune_allocators(pipeline.Settings.load().memory)
    lead(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]) if len(sys.argv) == 4 else work(*sys.argv[1:])
