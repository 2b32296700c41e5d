// What follows when a worker of a Dask cluster fails: for the directive errorStrategy of its module.

// A worker is a helper: the work goes on without it. Where its driver runs, one that was killed is replaced, up to 20 times,
// and one that failed by itself twice. But a job that the scheduler refuses is never passed over: Nextflow would wait for it
// for ever, and no worker would come. `killed` holds the exit codes of tasks that were killed.
def afterWorker(failed, dir, killed) {
    isRefused(failed) ? refused(failed)
        : isDone(dir) ? 'ignore'
        : failed.attempt <= (failed.exitStatus.toString() in killed.tokenize() ? 20 : 2) ? 'retry'
        : 'ignore'
}

def isDone(dir) {
    file("${dir}/terminate", glob: false).exists()
}

def isRefused(failed) {
    failed.previousException?.message?.startsWith('Error submitting process')
}

def refused(failed) {
    log.error("The scheduler takes no worker (${failed.name}), so the run ends. Its answer is below; --worker_queue, --bigstream_worker_mem_gb, --bigstream_worker_cpus and --max_memory are what it may not like. The same command with -resume goes on from the finished blocks.")
    'terminate'
}
