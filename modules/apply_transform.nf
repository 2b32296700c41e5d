// Warps a volume onto the fixed one block by block, as the driver of a Dask cluster that others may join in `dir`. Where
// the volume is written to an address, a JSON file in its place says so.
process APPLY_TRANSFORM {
    tag "${meta.id}: ${meta.name}"
    label 'dask_driver'
    scratch false

    input:
    tuple val(meta), val(call), val(dir), path(fixed, stageAs: 'fixed/*'), path(moving, stageAs: 'moving/*'), path(transform)
    path anchor, stageAs: 'dask/*'

    output:
    tuple val(meta), path("${meta.id}/${meta.name}.{zarr,json}"), emit: warped
    val dir, emit: finished
    tuple val(task.process), val('teralign'), eval("teralign --version | sed 's/.* //'"), topic: versions

    script:
    def args = task.ext.args ?: ''
    def result = "${meta.id}/${meta.name}"
    def output = call.address ? "\"${call.address}\" --overwrite > ${result}.json" : "\"\$PWD/${result}.zarr\""
    """
    export TERALIGN_INPUT_NAMES=${call.names}
    mkdir -p ${meta.id}
    run-on-dask "${dir}" ${task.cpus} ${task.memory.toMega()} apply-transform \\
        --fixed "${call.fixed}" \\
        --moving "${call.moving}" \\
        --transform "\$PWD/${transform}" \\
        ${call.options} ${args} \\
        --work-dir "${dir}/blocks" \\
        --output ${output}
    """

    stub:
    """
    mkdir -p ${meta.id}/${meta.name}.${call.address ? 'json' : 'zarr'}
    """
}
