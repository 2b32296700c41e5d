// Workers for the Dask clusters that drivers start: tasks that join a driver which runs, and leave with it.
//
// A driver has a worker of its own and waits for no other, so that few slots make a run slow but never stop it. Drivers
// and workers meet in a directory: a driver that runs writes scheduler.json there, one that is done terminate. The gate
// below holds the workers back until their driver runs and has told how many its blocks can use; no more are started, and
// for a driver that is cached or done, none.

include { DASK_WORKER } from '../modules/dask_worker.nf'

workflow DASK_CLUSTER {
    take:
    drivers  // maps: dir, name, volumes (what it reads); their directories have been made ready
    finished // the directories of drivers that are done
    workers  // the number for each driver
    anchor

    main:
    def waiting = new java.util.concurrent.ConcurrentHashMap() // looked through while drivers are still put in
    drivers
        .map { driver ->
            waiting[driver.dir] = driver
            driver.dir
        }
        .map { _dir -> nextRunning(waiting) }
        .filter { driver -> driver != null }
        .flatMap { driver ->
            (0..<helpersOf(driver.dir, workers)).collect { number -> [[id: driver.name, index: number + 1], driver.dir, driver.volumes] }
        }
        .set { joining }
    DASK_WORKER(joining, anchor)

    // Also for a driver that was cached, and so wrote nothing itself, or was given up. A driver that still runs at the end,
    // because the run finishes what it has begun, writes it itself.
    def directories = Collections.synchronizedSet([] as Set)
    drivers.subscribe { driver -> directories.add(driver.dir) }
    finished.subscribe(
        onNext: { dir -> terminate(dir) },
        onComplete: { directories.findAll { dir -> !isRunning(dir) }.each { dir -> terminate(dir) } },
    )
}

// Waits until any of the drivers runs and has a plan, or is done, and takes it from the list; returns null for one that is
// done. Each driver brings one call, so that all are taken in the end, in whichever order they start.
def nextRunning(waiting) {
    def found = null
    (1..Integer.MAX_VALUE).find { _round ->
        def dir = waiting.keySet().toList().find { dir -> isDone(dir) || (isRunning(dir) && isPlanned(dir)) }
        found = dir == null ? null : waiting.remove(dir)
        found != null || !pause()
    }
    found == null || isDone(found.dir) ? null : found
}

// Waits a moment. Returns false where the run is being ended: then waiting ends, without an error, so that running tasks
// may finish.
def pause() {
    try {
        Thread.sleep(500)
        return true
    }
    catch (InterruptedException _interrupted) {
        return false
    }
}

// Has a driver told how many workers its blocks can use? One that is going to has an empty file, for minutes at most.
def isPlanned(dir) {
    def told = file("${dir}/useful_workers", glob: false)
    !told.exists() || told.size() > 0 || System.currentTimeMillis() - told.lastModified() > 300000
}

// The number of workers to start for a driver, of `asked`: its own takes one block, each other one at least one more.
def helpersOf(dir, asked) {
    def told = file("${dir}/useful_workers", glob: false)
    told.exists() && told.size() > 0 ? Math.max(0, Math.min(asked, told.text.trim().toInteger() - 1)) : asked
}

def isRunning(dir) {
    file("${dir}/scheduler.json", glob: false).exists()
}

def isDone(dir) {
    file("${dir}/terminate", glob: false).exists()
}

// Tells the workers of a directory to leave.
def terminate(dir) {
    file("${dir}/terminate", glob: false).text = ''
}
