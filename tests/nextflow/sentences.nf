// Prints, as JSON, what the parameter checks say about each case of a file: null where nothing is wrong.

include { checkParameters } from '../../subworkflows/parameters.nf'

workflow {
    def cases = new groovy.json.JsonSlurper().parse(file(params.cases))
    def answers = cases.collect { given -> answer(given) }
    file(params.answers).text = groovy.json.JsonOutput.toJson(answers)
}

def answer(given) {
    try {
        checkParameters(given)
        null
    }
    catch (Exception problem) {
        problem.message ?: problem.cause.message
    }
}
