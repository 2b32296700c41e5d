// Workers for the Dask clusters that drivers start: tasks that join a driver which runs, and leave with it.
//
// A driver has a worker of its own and waits for none, so that few slots make a run slow but never stop it. Drivers
// and workers meet in a directory, where a driver says that it runs (scheduler.json) or is done (terminate). The gate
// below holds the workers back until a driver runs; for one that is cached, or done already, it starts none.

include { DASK_WORKER } from '../modules/dask_worker.nf'

workflow DASK_CLUSTER {
    take:
    drivers  // maps: dir, name, volumes (what it reads); their directories have been made ready
    finished // the directories of drivers that are done
    workers  // how many for each driver
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
            (1..workers).collect { index -> [[dir: driver.dir, name: driver.name, index: index], driver.volumes] }
        }
        .set { joining }
    DASK_WORKER(joining, anchor)

    // Also when a driver was cached, and so said nothing itself, or was given up. Where one still runs at the end,
    // because the run is to finish what it is at, it says so itself.
    def directories = Collections.synchronizedSet([] as Set)
    drivers.subscribe { driver -> directories.add(driver.dir) }
    finished.subscribe(
        onNext: { dir -> terminate(dir) },
        onComplete: { directories.findAll { dir -> !isRunning(dir) }.each { dir -> terminate(dir) } },
    )
}

// Waits until any of the drivers runs or is done and takes it from the list; null when it is done. Each driver brings
// one call, so that all are taken in the end, in whichever order they start.
def nextRunning(waiting) {
    def found = null
    (1..Integer.MAX_VALUE).find { _round ->
        def dir = waiting.keySet().toList().find { dir -> isRunning(dir) || isDone(dir) }
        found = dir == null ? null : waiting.remove(dir)
        found != null || !pause()
    }
    found == null || isDone(found.dir) ? null : found
}

// False when the run is being ended, which is no reason to wait longer, nor to fail: what runs may finish.
def pause() {
    try {
        Thread.sleep(500)
        return true
    }
    catch (InterruptedException _interrupted) {
        return false
    }
}

def isRunning(dir) {
    file("${dir}/scheduler.json").exists()
}

def isDone(dir) {
    file("${dir}/terminate").exists()
}

// Tells the workers of a directory to leave.
def terminate(dir) {
    file("${dir}/terminate").text = ''
}

// Makes the directory of a driver ready for it: there, without what an earlier run said, and with the workers that
// run-on-dask is to start. They stand there, not in the script, so that -resume does not take a cluster of another size
// for another result. Unfinished blocks stay.
def prepareDirectory(path, workers) {
    def dir = file(path)
    dir.mkdirs()
    ['scheduler.json', 'terminate'].each { name -> dir.resolve(name).delete() }
    dir.resolve('workers').text = workers
    dir.toString()
}
