// Refines the alignment of a pair block by block, as the driver of a Dask cluster that others may join.
process LOCAL_ALIGN {
    tag "${meta.id}"
    label 'dask_driver'
    scratch false

    input:
    tuple val(meta), path(fixed, stageAs: 'fixed/*'), path(moving, stageAs: 'moving/*'), path(fixed_mask, stageAs: 'fixed_mask/*'), path(moving_mask, stageAs: 'moving_mask/*'), path(affine)
    val options
    path config, stageAs: 'config.yml'
    path anchor, stageAs: 'dask/*'

    output:
    tuple val(meta.id), path("${meta.id}/transform.zarr"), path("${meta.id}/transform.blocks.json"), emit: transform
    val meta.dir, emit: finished
    tuple val(task.process), val('teralign'), eval("teralign --version | sed 's/.* //'"), topic: versions

    script:
    """
    mkdir -p ${meta.id}
    run-on-dask "${meta.dir}" ${task.cpus} ${task.memory.toMega()} local-align \\
        --fixed "${meta.fixed}" \\
        --moving "${meta.moving}" \\
        --initial-transform "\$PWD/${affine}" \\
        ${meta.options} ${options} \\
        --config "\$PWD/${config}" \\
        --work-dir "${meta.dir}/blocks" \\
        --output "\$PWD/${meta.id}/transform.zarr"
    """

    stub:
    """
    mkdir -p ${meta.id}/transform.zarr
    touch ${meta.id}/transform.blocks.json
    """
}
