// Warps a volume onto the fixed one block by block, as the driver of a Dask cluster that others may join.
process APPLY_TRANSFORM {
    tag "${meta.id}: ${meta.name}"
    label 'dask_driver'
    scratch false

    input:
    tuple val(meta), path(fixed, stageAs: 'fixed/*'), path(moving, stageAs: 'moving/*'), path(affine), path(field)
    val options
    path anchor, stageAs: 'dask/*'

    output:
    tuple val(meta.id), path("${meta.id}/${meta.name}.zarr"), emit: warped
    val meta.dir, emit: finished
    tuple val(task.process), val('teralign'), eval("teralign --version | sed 's/.* //'"), topic: versions

    script:
    """
    mkdir -p ${meta.id}
    run-on-dask "${meta.dir}" ${task.cpus} ${task.memory.toMega()} apply-transform \\
        --fixed "${meta.fixed}" \\
        --moving "${meta.moving}" \\
        --transform "\$PWD/${affine}" \\
        --transform "\$PWD/${field}" \\
        ${meta.options} ${options} \\
        --work-dir "${meta.dir}/blocks" \\
        --output "\$PWD/${meta.id}/${meta.name}.zarr"
    """

    stub:
    """
    mkdir -p ${meta.id}/${meta.name}.zarr
    """
}
