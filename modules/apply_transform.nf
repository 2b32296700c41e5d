include { word } from '../subworkflows/shell.nf'

// Warps a volume onto the fixed one block by block, as the driver of a Dask cluster that others may join in `dir`. Where
// the volume is written to an address, a JSON file in its place says so. A volume for a container of several is written
// as one of its own, and moved into its place.
process APPLY_TRANSFORM {
    tag "${meta.id}: ${meta.name}"
    label 'dask_driver'
    scratch false

    input:
    tuple val(meta), val(call), val(dir), path(fixed, stageAs: 'fixed/*'), path(moving, stageAs: 'moving/*'), path(transforms, stageAs: 'transforms/?/*')
    path anchor, stageAs: 'dask/*'

    output:
    tuple val(meta), path("${meta.id}/${call.output}"), emit: warped
    val dir, emit: finished
    tuple val(task.process), val('teralign'), eval("teralign --version | sed 's/.* //'"), topic: versions

    script:
    def args = task.ext.args ?: ''
    def listed = [transforms].flatten().collect { file -> "--transform \"\$PWD\"/${file}" }.join(' ')
    def result = "${meta.id}/${call.output}"
    def written = "${meta.id}/${call.file}"
    def output = call.address ? "${word(call.address)} --overwrite > ${result}" : "\"\$PWD/${written}\""
    """
    export TERALIGN_INPUT_NAMES=${call.names}
    mkdir -p \$(dirname ${result})
    run-on-dask ${word(dir)} ${task.cpus} ${task.memory.toMega()} apply-transform \\
        --fixed ${call.fixed} \\
        --moving ${call.moving} \\
        ${listed} \\
        ${call.options} ${args} \\
        --work-dir ${word("${dir}/blocks")} \\
        --output ${output}
    ${call.address || written == result ? '' : "mv ${written} ${result}"}
    """

    stub:
    """
    mkdir -p ${meta.id}/${call.output}
    """
}
