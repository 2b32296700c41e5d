include { afterWorker } from '../subworkflows/failures.nf'
include { word } from '../subworkflows/shell.nf'

// A Dask worker that joins the driver of a directory, and leaves with it. Takes what the driver reads as inputs, so
// that a container engine mounts it here too.
process DASK_WORKER {
    tag "${meta.id}: ${meta.index}"
    label 'dask_worker'
    errorStrategy { afterWorker(task, dir, task.ext.retry_exit_codes) }
    maxRetries 10000 // afterWorker counts
    maxSubmitAwait '2h' // one that waits longer is submitted again if its driver still runs: none keeps a run open
    cache false
    scratch false

    input:
    tuple val(meta), val(dir), path(volumes, stageAs: 'volumes/?/*')
    path anchor, stageAs: 'dask/*'

    script:
    def args = task.ext.args ?: ''
    """
    start-dask-worker \\
        --dir ${word(dir)} \\
        --worker-cpus ${task.cpus} \\
        --worker-mem-gb ${task.memory.toMega() / 1024} ${args}
    """

    stub:
    """
    test -e ${word("${dir}/terminate")}
    """
}
