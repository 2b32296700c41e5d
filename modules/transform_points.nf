// Takes a table of points of the moving round to where they lie in the fixed one.
process TRANSFORM_POINTS {
    tag "${meta.id}: ${meta.name}"

    input:
    tuple val(meta), val(call), path(points, stageAs: 'points/*'), path(transforms, stageAs: 'transforms/?/*')

    output:
    tuple val(meta), path("${meta.id}/${meta.name}.csv"), emit: points
    tuple val(task.process), val('teralign'), eval("teralign --version | sed 's/.* //'"), topic: versions

    script:
    def args = task.ext.args ?: ''
    def listed = [transforms].flatten().collect { file -> "--transform ${file}" }.join(' ')
    """
    mkdir -p ${meta.id}
    transform-points \\
        --points ${points} \\
        --inverse \\
        ${listed} \\
        ${call.options} ${args} \\
        --threads ${task.cpus} \\
        --output ${meta.id}/${meta.name}.csv
    """

    stub:
    """
    mkdir -p ${meta.id}
    touch ${meta.id}/${meta.name}.csv
    """
}
