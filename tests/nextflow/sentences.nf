// Prints, as JSON, what the parameter checks say about each case of a file: null where nothing is wrong.

include { checkParameters ; helpText } from '../../subworkflows/parameters.nf'
include { fingerprint ; readPairs } from '../../subworkflows/pairs.nf'
include { applyMeta } from '../../subworkflows/register.nf'

workflow {
    def cases = new groovy.json.JsonSlurper().parse(file(params.cases))
    def answers = cases.collect { given -> answer(given) }
    file(params.answers).text = groovy.json.JsonOutput.toJson(answers)
}

def answer(given) {
    def defaults = [aff_scale: 's3', def_scale: 's2']
    try {
        checkParameters(given)
        [error: null, pairs: readPairs(defaults + given).collect { pair -> describe(pair) }]
    }
    catch (Exception problem) {
        [error: problem.message ?: problem.cause.message]
    }
}

def describe(pair) {
    def volumes = ['fixed', 'moving', 'fixed_mask', 'moving_mask'].collectEntries { name ->
        [name, pair[name] ? pair[name] + [path: pair[name].path.toString(), fingerprint: fingerprint(pair[name], 'local')] : null]
    }
    pair.subMap(['id', 'channels', 'spacings', 'mask_options']) + volumes + [
        images: pair.images.collect { image -> [image.name, image.volume.apply, image.interpolation] },
        options: pair.images.collect { image -> applyMeta(pair, image, null).options },
        points: pair.points.collect { points -> [points.name, points.table.name] },
    ]
}
