// A Dask worker that joins the driver of a directory, and leaves with it. Takes what the driver reads as inputs, so
// that a container engine mounts it here too.
process DASK_WORKER {
    tag "${meta.name}: ${meta.index}"
    label 'dask_worker'
    cache false
    scratch false

    input:
    tuple val(meta), path(volumes, stageAs: 'volumes/?/*')
    path anchor, stageAs: 'dask/*'

    script:
    """
    start-dask-worker \\
        --dir "${meta.dir}" \\
        --worker-cpus ${task.cpus} \\
        --worker-mem-gb ${task.memory.toMega() / 1024}
    """

    stub:
    """
    test -e "${meta.dir}/terminate"
    """
}
