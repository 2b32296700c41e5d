include { word } from '../subworkflows/shell.nf'

// Measures how tiles are bent in their overlaps, as the driver of a Dask cluster that others may join in `dir`.
process REFINE_TILES {
    tag "${meta.id}"
    label 'dask_driver'
    scratch false

    input:
    tuple val(meta), val(call), val(dir), path(solved), path(pairs), path(source, stageAs: 'source/*')
    path anchor, stageAs: 'dask/*'

    output:
    tuple val(meta), path("${meta.id}/refinement"), emit: refinement
    val dir, emit: finished
    tuple val(task.process), val('teralign'), eval("teralign --version | sed 's/.* //'"), topic: versions

    script:
    def args = task.ext.args ?: ''
    """
    mkdir -p ${meta.id}
    run-on-dask ${word(dir)} ${task.cpus} ${task.memory.toMega()} refine-tiles \\
        "\$PWD"/${solved} "\$PWD"/${pairs} "\$PWD/${meta.id}/refinement" ${args} \\
        --work-dir ${word("${dir}/blocks")}
    """

    stub:
    """
    mkdir -p ${meta.id}/refinement
    """
}
