// What follows when a driver or a worker of a Dask cluster fails: for the directive errorStrategy of their modules.

// A driver whose workers were all cancelled with it, as scancel -u does, is not submitted again: the run ends.
def afterDriver(failed, dir, parameters) {
    failed.exitStatus == 143 && isCancelled(dir, 'driver', failed.name) ? 'terminate'
        : isKilled(failed, parameters) ? 'retry'
        : failed.exitStatus == 4 && parameters.input ? 'ignore'
        : 'finish'
}

// A worker is a helper: the work goes on without it. Where its driver runs, one that was killed is replaced, up to 20 times,
// and one that failed by itself twice. But a job that the scheduler refuses is never passed over: Nextflow
// would wait for it for ever, and no worker would come.
def afterWorker(failed, dir, index, parameters) {
    isRefused(failed) ? refused(failed)
        : isDone(dir) ? 'ignore'
        : failed.exitStatus == 143 && isCancelled(dir, index, failed.name) ? 'terminate'
        : failed.attempt <= (isKilled(failed, parameters) ? 20 : 2) ? 'retry'
        : 'ignore'
}

def isKilled(failed, parameters) {
    failed.exitStatus.toString() in parameters.retry_exit_codes.tokenize()
}

def isDone(dir) {
    file("${dir}/terminate").exists()
}

def isRefused(failed) {
    failed.previousException?.message?.startsWith('Error submitting process')
}

def refused(failed) {
    log.error("The scheduler takes no worker (${failed.name}), so the run ends. Its answer is below; --worker_queue, --bigstream_worker_mem_gb, --bigstream_worker_cpus and --max_memory are what it may not like. The same command with -resume goes on from the finished blocks.")
    'terminate'
}

// Notes down that a task of a cluster was cancelled, and says what users may not expect: Nextflow submits it again. Returns
// whether the driver and all workers that have begun were cancelled within a minute.
def isCancelled(dir, name, title) {
    def marks = file("${dir}/cancelled")
    marks.mkdirs()
    marks.resolve(name.toString()).text = ''
    def now = System.currentTimeMillis()
    def recent = marks.listFiles().toList().findAll { mark -> now - mark.lastModified() < 60000 }.collect { mark -> mark.name }
    def begun = file("${dir}/helpers").exists() ? file("${dir}/helpers").listFiles().toList().collect { mark -> mark.name } : []
    def together = begun && recent.containsAll(begun + ['driver'])
    log.warn(together
        ? "${title} and all other jobs of its cluster were cancelled: the run ends. The same command with -resume goes on."
        : "${title} was cancelled or preempted, and is submitted again. To end the run, cancel its head: Ctrl-C there, or its own job.")
    together
}
