// A sign of life of this process, the head of the run, by which tasks see that it has gone: bin/watch-head reads it.

// Keeps a file up to date until the clock that it returns is cancelled. The file is for the tasks of this run alone: those of an
// earlier head end even while a later one runs.
def showLife(folder, run) {
    def sign = file("${folder}/.head-${run}", glob: false)
    def clock = new Timer(true)
    def whole = file("${folder}/.head-${run}.new", glob: false)
    def count = new java.util.concurrent.atomic.AtomicLong()
    def beat = { writeSign(sign, whole, count.incrementAndGet()) } as TimerTask
    sign.parent.mkdirs()
    writeSign(sign, whole, 0)
    clock.schedule(beat, 2000L, 2000L)
    clock
}

// Whole, and there at any time: a task that finds none takes the head for gone, and REPLACE_EXISTING removes the old one before it
// renames the new one. A full disk must not end the clock.
def writeSign(sign, whole, count) {
    try {
        whole.text = "${count} ${hostOf()} ${ProcessHandle.current().pid()}\n"
        java.nio.file.Files.move(whole, sign, java.nio.file.StandardCopyOption.ATOMIC_MOVE)
    }
    catch (IOException error) {
        log.debug("No sign of life: ${error}")
    }
}

// As bin/watch-head names a host.
def hostOf() {
    def space = file('/proc/self/ns/pid')
    "${'uname -n'.execute().text.trim()}:${java.nio.file.Files.isSymbolicLink(space) ? java.nio.file.Files.readSymbolicLink(space) : ''}"
}
