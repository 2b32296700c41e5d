// What the reports say of each pair: verdict, estimated error, and whether the limits of the run hold.

include { userName } from './pairs.nf'
include { word } from './shell.nf'
include { lastFailure ; traceOfRun } from './trace.nf'

// Reads the report in `folder`. Returns a map: id, verdict, passed, line (verdict, error and `place`, where people find the
// report), missed (limits, a sentence each) and advice. A report that cannot be read, as in a stub run, says nothing.
def readOutcome(id, folder, place) {
    def report = folder.resolve('report.json')
    def text = report.exists() ? report.text : ''
    def content = text ? new groovy.json.JsonSlurper().parseText(text) : [:]
    def verdict = content.verdict ?: 'unknown'
    [
        id: id,
        verdict: verdict,
        passed: content.gates == null || content.gates.passed,
        line: "${id}: ${verdict}, ${errorOf(content)}, report ${place}".toString(),
        missed: (content.gates?.failed ?: []).collect { gate -> gate.sentence },
        advice: (content.assessment?.advice ?: []).collect { advice -> inParameters(advice.sentence) },
    ]
}

// A sentence with the options of commands as parameters of the workflow: --moving-spacing becomes --moving_spacing, and what
// import-tiles calls --mirror --tiles_mirror.
def inParameters(sentence) {
    sentence.replaceAll(/--(mirror|swap-xy)\b/, '--tiles-$1').replaceAll(/--[a-z]+(-[a-z]+)+/) { found -> '--' + found[0].substring(2).replace('-', '_') }
}

def errorOf(content) {
    def error = content.error_um
    def parts = content.kind == 'tiles' ? 'tiles' : 'blocks'
    error?.median == null ? 'error unknown'
        : "error ${shown(error.median)} µm" + (error.p95 == null ? '' : " (95 % of ${parts} below ${shown(error.p95)} µm)")
}

def shown(value) {
    new BigDecimal(value.toString()).round(new java.math.MathContext(2)).toPlainString()
}

// The lines of the pairs, or rounds of tiles, that missed a limit, or that have no report since one of their tasks failed. A run
// is a map: started (in ms) and work, its work directory.
def failedRows(rows, outcomes, run) {
    rows.collect { row -> outcomes.find { outcome -> outcome.id == row.id } ?: withoutReport(row.id, run) }
        .findAll { outcome -> !outcome.passed }
        .collect { outcome -> ([outcome.line] + outcome.missed).join('; ') }
}

def withoutReport(id, run) {
    [id: id, verdict: 'failed', passed: false, line: "${id}: no report; ${reasonOf(id, run)}".toString(), missed: [], advice: []]
}

// Why a pair has no report: the last sentence of its last task that failed, which the trace names.
def reasonOf(id, run) {
    def task = lastFailure(traceOfRun(run.started), id)
    def folders = task ? files("${run.work}/${task.hash}*", type: 'dir') : []
    def log = folders ? folders[0].resolve('.command.err') : null
    def said = log?.exists() ? log.readLines().findAll { line -> line.startsWith('Error: ') } : []
    said ? said[-1].replaceFirst(/^Error: /, '') : 'the log names the folder of a task that failed'
}

def reportOf(id, outdir) {
    "${outdir}/${id}/report/index.html".toString()
}

def stitchingOf(id, outdir) {
    "${outdir}/${id}/stitching/index.html".toString()
}

// The last lines of a run, from the reports in the folder of results: what is wrong first, and how to look at a pair.
// Of the pairs only those that are `reported` have a report of this run.
def lastLines(pairs, reported, outdir, run, most) {
    def ordered = worstFirst(pairs.collect { pair ->
        pair.id in reported ? readOutcome(pair.id, file("${outdir}/${pair.id}/report", glob: false), reportOf(pair.id, outdir)) : withoutReport(pair.id, run)
    })
    def shown = pairs.find { pair -> pair.id == ordered.find { outcome -> outcome.id in reported }?.id }
    linesOf(ordered, most) +
        (shown ? ['To look at a pair, open its report in a browser, or its volumes in a viewer:', "    ${viewCommand(shown, outdir)}"] : [])
}

// The last lines about rounds that were stitched, as those of pairs.
def roundLines(rounds, reported, outdir, run, most) {
    linesOf(worstFirst(rounds.collect { round ->
        round.id in reported ? readOutcome(round.id, file("${outdir}/${round.id}/stitching", glob: false), stitchingOf(round.id, outdir)) : withoutReport(round.id, run)
    }), most)
}

def linesOf(ordered, most) {
    def left = ordered.drop(most).countBy { outcome -> outcome.verdict }.collect { verdict, number -> "${number} ${verdict}" }
    ordered.take(most).collectMany { outcome -> [outcome.line] + (outcome.missed + outcome.advice).collect { note -> "    ${note}" } } +
        (left ? ["and ${ordered.size() - most} more: ${left.join(', ')}"] : [])
}

def worstFirst(outcomes) {
    outcomes.findAll { outcome -> !isFine(outcome) } + outcomes.findAll { outcome -> isFine(outcome) }
}

def isFine(outcome) {
    outcome.passed && outcome.verdict == 'good'
}

def viewCommand(pair, outdir) {
    def maps = pair.transforms.whole ? pair.transforms.whole.collect { map -> map.path } : ["${outdir}/${pair.id}/transform.zarr"]
    (["view-alignment --fixed ${typed(userName(pair.fixed))} --moving ${typed(userName(pair.moving))}"] + maps.collect { map -> "--transform ${typed(map)}" }).join(' ')
}

// A text as people type it in a shell: in quotes only where it needs them.
def typed(text) {
    text.toString() ==~ /[\w.\/:@%+,=-]+/ ? text.toString() : word(text)
}
