// The trace that Nextflow writes of a run: a row for each task that has ended.

// Returns the trace of this run, wherever -with-trace or the configuration puts it, or null if there is none: one that is
// older than the run, which `started` then, belongs to another.
def traceOfRun(started) {
    def path = nextflow.Global.session.config.trace?.file
    def trace = path ? file(path, glob: false) : null
    trace?.exists() && trace.lastModified() >= started ? trace : null
}

// Returns the last task with this tag (the id of a pair, alone or before what of it) that failed, as a map by columns, or null.
def lastFailure(trace, id) {
    def rows = trace ? trace.readLines().collect { row -> row.split('\t').toList() } : []
    def tasks = rows.drop(1).collect { row -> [rows[0], row].transpose().collectEntries { pair -> pair } }
    def tag = java.util.regex.Pattern.quote(id)
    tasks.findAll { task -> task.status == 'FAILED' && task.name.matches(".* \\(${tag}(: .*)?\\)") }.with { found -> found ? found[-1] : null }
}
