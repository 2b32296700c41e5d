// How a text of the user stands in the script of a task: as one word, whatever is in it. A staged file needs no more, since
// Nextflow puts backslashes into its name wherever a script shows it; inside quotes they would stay.

// A text as a word of the shell.
def word(text) {
    "'${text.toString().replace("'", "'\\''")}'".toString()
}

// A path in the work directory of the task as a word.
def workPath(path) {
    "\"\$PWD\"/${word(path)}".toString()
}
