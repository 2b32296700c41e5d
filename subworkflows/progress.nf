// Progress of the blocks in the log of the run, which itself shows only whole tasks.

// Starts a clock that repeats the latest line of each driver below `folder` when it has changed; returns it, to be cancelled.
// A driver is called by the name of its directory, local-ID or apply-ID-NAME.
def followDrivers(folder, seconds) {
    def clock = new Timer(true)
    def told = [:]
    def look = { newLines(folder, told).each { line -> log.info(line) } } as TimerTask
    if (seconds > 0) {
        clock.schedule(look, seconds * 1000L, seconds * 1000L)
    }
    clock
}

// The lines that are not in `told`, by driver, which then holds them.
def newLines(folder, told) {
    (file(folder, glob: false).exists() ? file(folder, glob: false).listFiles() : []).toList().sort()
        .collect { dir -> [dir.name, latestLine(dir)] }
        .findAll { name, line -> line && told.put(name, line) != line }
        .collect { name, line -> "${name}: ${line}".toString() }
}

// A driver may be replacing the file.
def latestLine(dir) {
    try {
        return dir.resolve('progress').text.trim()
    }
    catch (IOException _missing) {
        return ''
    }
}
