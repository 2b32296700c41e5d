// Judges the alignment of a pair, and shows it before and after at an overview scale. A pair that misses a limit (exit code 6)
// is no failure of this task: the report says so, and the run fails when all pairs are done.
process REPORT {
    tag "${meta.id}"
    label 'whole_volume'

    input:
    tuple val(meta), val(call), path(fixed, stageAs: 'fixed/*'), path(moving, stageAs: 'moving/*'), path(transforms, stageAs: 'transforms/?/*'), path(blocks), path(steps), path(fixed_landmarks, stageAs: 'landmarks/fixed/*'), path(moving_landmarks, stageAs: 'landmarks/moving/*')

    output:
    tuple val(meta), path("${meta.id}/report"), emit: report
    tuple val(task.process), val('teralign'), eval("teralign --version | sed 's/.* //'"), topic: versions

    script:
    def args = task.ext.args ?: ''
    def listed = [transforms].flatten().collect { file -> "--transform ${file}" } + [blocks].flatten().collect { file -> "--blocks ${file}" }
    listed += [steps].flatten().collect { file -> "--global-report ${file}" }
    def limit = fixed_landmarks ? task.ext.args2 ?: '' : ''
    listed += [fixed_landmarks].flatten().collect { file -> "--fixed-landmarks ${file}" } + [moving_landmarks].flatten().collect { file -> "--moving-landmarks ${file}" }
    """
    export TERALIGN_INPUT_NAMES=${call.names}
    mkdir -p ${meta.id}
    report-alignment \\
        --fixed ${call.fixed} \\
        --moving ${call.moving} \\
        ${listed.join(' ')} \\
        ${call.options} ${args} ${limit} \\
        --name "${meta.id}" \\
        --output ${meta.id}/report || [ \$? -eq 6 ]
    """

    stub:
    """
    mkdir -p ${meta.id}/report
    touch ${meta.id}/report/index.html ${meta.id}/report/report.json ${meta.id}/report/overlay.png
    """
}
