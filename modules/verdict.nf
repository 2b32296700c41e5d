// Ends the run with an error that names the pairs which failed. It runs in Nextflow itself, without a job, when all other
// tasks are done: their results stay and are published, which an error in the workflow's own script would cut off.
process VERDICT {
    cache false
    executor 'local' // without a warning that no scheduler of jobs can run it

    input:
    val failures // a line for each failed pair
    val count    // the number of all pairs

    exec:
    error("${failures.size()} of ${count} pair${count == 1 ? '' : 's'} failed; all results are kept.\n  ${failures.join('\n  ')}")
}
