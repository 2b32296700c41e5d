// Warps a volume onto the fixed one block by block, as the driver of a Dask cluster that others may join. Where the volume
// is written to an address, its place is kept by a file that says so.
process APPLY_TRANSFORM {
    tag "${meta.id}: ${meta.name}"
    label 'dask_driver'
    scratch false

    input:
    tuple val(meta), path(fixed, stageAs: 'fixed/*'), path(moving, stageAs: 'moving/*'), path(affine), path(field)
    val options
    path anchor, stageAs: 'dask/*'

    output:
    tuple val(meta.id), path("${meta.id}/${meta.name}.{zarr,json}"), emit: warped
    val meta.dir, emit: finished
    tuple val(task.process), val('teralign'), eval("teralign --version | sed 's/.* //'"), topic: versions

    script:
    def result = "${meta.id}/${meta.name}"
    def output = meta.address ? "\"${meta.address}\" --overwrite > ${result}.json" : "\"\$PWD/${result}.zarr\""
    """
    mkdir -p ${meta.id}
    run-on-dask "${meta.dir}" ${task.cpus} ${task.memory.toMega()} apply-transform \\
        --fixed "${meta.fixed}" \\
        --moving "${meta.moving}" \\
        --transform "\$PWD/${affine}" \\
        --transform "\$PWD/${field}" \\
        ${meta.options} ${options} \\
        --work-dir "${meta.dir}/blocks" \\
        --output ${output}
    """

    stub:
    """
    mkdir -p ${meta.id}/${meta.name}.${meta.address ? 'json' : 'zarr'}
    """
}
