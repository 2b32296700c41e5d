// What to align: pairs from --fixed and --moving or from a samplesheet, looked up on disk before anything runs.

// The pairs of the run, as maps: id, fixed, moving, fixed_mask, moving_mask (volumes), options, images to warp, tables of
// points to take along.
def readPairs(parameters) {
    if (parameters.input && (parameters.fixed || parameters.moving)) {
        error("Give either --input or --fixed and --moving, not both.")
    }
    if (!parameters.input && !(parameters.fixed && parameters.moving)) {
        error("Nothing to align: give --fixed and --moving, or a samplesheet with --input. See --help.")
    }
    ['id', 'apply_to'].each { name ->
        if (parameters.input && parameters[name]) {
            error("--${name} is for one pair: with --input, use the samplesheet's column ${name}.")
        }
    }
    ['aff_scale', 'def_scale'].each { name ->
        if (!parameters[name]) {
            error("--${name} is missing: it names the dataset inside fixed and moving, such as s2.")
        }
    }
    parameters.input ? readSheet(parameters) : [makePair(parameters, file('.'), parameters) { column -> "--${column}" }]
}

def readSheet(parameters) {
    def sheet = file(parameters.input)
    def known = [
        'id', 'fixed', 'moving', 'fixed_mask', 'moving_mask', 'fixed_mask_labels', 'moving_mask_labels',
        'fixed_channel', 'moving_channel', 'apply_to', 'apply_scale', 'apply_grid_scale',
    ]
    def rows = sheet.getText('UTF-8').isBlank() ? [] : sheet.splitCsv(header: true, strip: true, quote: '"', charset: 'UTF-8').collect { row ->
        row.collectEntries { column, value -> [column.replace('\uFEFF', ''), value] } // a spreadsheet's byte order mark
    }
    if (!rows) {
        error("${sheet.name} has no rows: it needs a line of columns (id,fixed,moving) and a line for each pair.")
    }
    rows[0].keySet().each { column ->
        if (!(column in known)) {
            error("${sheet.name} has a column '${column}', which is none of ${known.join(', ')}.")
        }
    }
    def pairs = rows.withIndex().collect { row, index ->
        ['id', 'fixed', 'moving'].each { column ->
            if (!row[column]) {
                error("${sheet.name}, row ${index + 1}: the column ${column} is missing or empty.")
            }
        }
        makePair(row, sheet.parent, parameters) { column -> "${sheet.name}, row ${index + 1}, ${column}" }
    }
    pairs.countBy { pair -> pair.id }.each { id, count ->
        if (count > 1) {
            error("${sheet.name} has ${count} rows with the id ${id}: each pair needs its own.")
        }
    }
    pairs
}

// One pair out of a row; `folder` is what relative paths start from, `where` names a column in messages. What the row
// does not say of masks, channels and scales to warp, the parameters do.
def makePair(row, folder, parameters, where) {
    def scales = [
        global: firstScale(['aff_scale'], row, parameters),
        local: firstScale(['def_scale'], row, parameters),
        apply: firstScale(['apply_scale', 'def_scale'], row, parameters),
    ]
    def onto = scales + [apply: firstScale(['apply_grid_scale', 'apply_scale', 'def_scale'], row, parameters)]
    def anywhere = scales.collectEntries { use, scale -> [use, scale + [optional: true]] }
    def pair = [:]
    [fixed: onto, moving: scales, fixed_mask: anywhere, moving_mask: anywhere].each { column, wanted ->
        def own = row[column]
        def name = own ?: parameters[column]
        pair[column] = !name || (name == 'auto' && wanted == anywhere) ? null
            : findVolume(name, own ? folder : file('.'), wanted, own ? where.call(column) : "--${column}")
    }
    pair.mask_options = ['fixed', 'moving'].collectMany { side -> maskOptions(side, row, parameters, where) }
    pair.id = row.id ?: "${stem(pair.moving.name)}-to-${stem(pair.fixed.name)}"
    if (!(pair.id ==~ /[A-Za-z0-9][A-Za-z0-9._-]*/)) {
        error("${where.call('id')}: '${pair.id}' cannot name a folder; use letters, digits, dots, dashes and underscores.")
    }
    pair.channels = ['fixed', 'moving'].collectEntries { side ->
        def column = "${side}_channel".toString()
        [side, checkChannel(row[column] ?: parameters[column], where.call(column))]
    }
    pair.spacings = ['fixed', 'moving'].collectEntries { side ->
        [side, readSpacings(parameters["${side}_spacing".toString()])]
    }
    def entries = (row.apply_to ?: '').tokenize(';').collect { entry -> entry.trim() }.findAll { entry -> entry }
    def applied = anywhere + [apply: scales.apply] // what goes along needs no scale to align
    def others = entries.withIndex().collect { entry, index -> makeOther(entry, index + 1, folder, applied, where.call('apply_to')) }
    pair.images = [[name: 'warped', volume: pair.moving]] + others.findAll { other -> other.volume }
    pair.points = others.findAll { other -> other.table }
    pair
}

// The first of these scales that the row names, or else the parameters.
def firstScale(names, row, parameters) {
    def chosen = names.find { name -> row[name] || parameters[name] }
    [name: chosen, value: row[chosen] ?: parameters[chosen]]
}

// The options of an alignment for a mask that is found by itself, or that has labels. Labels go with the mask: those of
// the parameters hold where the row has no mask of its own.
def maskOptions(side, row, parameters, where) {
    def column = "${side}_mask".toString()
    def mask = row[column] ?: parameters[column]
    def labels = row["${column}_labels".toString()] ?: (row[column] ? null : parameters["${column}_labels".toString()])
    if (!labels) {
        return mask == 'auto' ? ["--${side}-mask auto"] : []
    }
    if (!mask || mask == 'auto') {
        def reason = mask ? 'a mask that is found by itself has no labels' : "there is no ${column} that has them"
        error("${where.call(column + '_labels')}: ${reason}.")
    }
    def text = labels.toString().replaceAll(/\s/, '').replace(';', ',')
    if (!(text ==~ /-?\d+(,-?\d+)*/)) {
        error("${where.call(column + '_labels')} must be whole numbers with commas between them, not '${labels}'.")
    }
    ["--${side}-mask-labels ${text}"]
}

// What else a row takes along: a volume to warp, or a table of points, with what its entry says of it.
def makeOther(entry, number, folder, scales, where) {
    def (uri, said) = splitEntry(entry, where)
    if (uri ==~ /(?i).+\.csv/) {
        if (said) {
            error("${where}: ${entry} is a table of points, which has no ${said.keySet().join(' and no ')}.")
        }
        def table = findTable(uri, folder, where)
        return [name: "warped_${number}_${stem(table.name)}".toString(), table: table]
    }
    def volume = findVolume(uri, folder, scales, where)
    [name: "warped_${number}_${stem(volume.name)}".toString(), volume: volume] + said
}

// 'labels.tif:nearest:spacing=1,1,2' into the path and what is said of it: interpolation, channels, spacing.
def splitEntry(entry, where) {
    def (uri, endings) = (entry =~ /^(.+?)((?::[A-Za-z]+(?:=[^:=]*)?)*)$/)[0].drop(1)
    def said = endings.tokenize(':').collectEntries { ending ->
        def (name, value) = ending.contains('=') ? ending.split('=', 2).collect { part -> part.trim() } : ['interpolation', ending]
        def shapes = [
            interpolation: /linear|nearest|cubic/,
            channels: /\d+(,\d+)*/,
            spacing: /\d*\.?\d+(,\d*\.?\d+){2}/,
        ]
        if (!(value ==~ (shapes[name] ?: ''))) {
            error("${where}: ${entry} ends in '${ending}', which is none of linear, nearest, cubic, channels=0,2 or spacing=X,Y,Z.")
        }
        [name, value]
    }
    [uri, said]
}

// A table of points; its first one is looked at, so that a table of something else does not end the run hours later.
def findTable(uri, folder, where) {
    checkName(uri, where)
    if (isAddress(uri)) {
        error("${where}: ${uri} cannot be read: tables of points are read from disks only.")
    }
    def table = resolve(uri, folder)
    if (!table.isFile()) {
        error("${where}: ${table} does not exist.")
    }
    def lines = table.withReader('UTF-8') { reader -> [reader.readLine(), reader.readLine()] }
    def rows = lines.collect { line -> (line ?: '').replaceAll(/["\s\uFEFF]/, '').split(',', -1).toList() }
    def first = isNumber(rows[0][0]) ? 0 : 1
    if (lines[first] && !(rows[first].size() >= 3 && rows[first].take(3).every { cell -> isNumber(cell) })) {
        error("${where}: line ${first + 1} of ${table} is no point: it must begin with x,y,z in µm, not '${lines[first]}'.")
    }
    table
}

def checkChannel(value, where) {
    def text = (value ?: 0).toString()
    if (!(text ==~ /\d+/)) {
        error("${where} must be a whole number from 0, not '${text}'.")
    }
    text.toInteger()
}

// 's2=1,1,2;s3=2,2,4' by scale; without a scale for all of them, under the name ''.
def readSpacings(text) {
    (text ?: '').toString().tokenize(';').collectEntries { entry ->
        entry.contains('=') ? entry.tokenize('=') : ['', entry]
    }
}

// Where a volume is: the file or container to stage, and what to read of it at each scale.
def findVolume(uri, folder, scales, where) {
    checkName(uri, where)
    if (isAddress(uri)) {
        return findAddress(uri, scales, where)
    }
    def full = resolve(uri, folder).toString()
    def (container, group) = splitContainer(full)
    if (!container.exists()) {
        error("${where}: ${container} does not exist.")
    }
    [path: container, name: container.name] + scales.collectEntries { use, scale ->
        [use, findDataset(container, group, scale, where)]
    }
}

// A volume in a bucket or on a web server, which the tasks read there, so that nothing is staged. What is in it cannot be
// looked up here: an address that ends in one of the scales is taken for an array, any other for a group that has them.
def findAddress(uri, scales, where) {
    if (!(uri ==~ /(?i)(s3|gs|https?):\/\/[^\/]+\/.+/)) {
        error("${where}: ${uri} cannot be read: of addresses only s3://, gs://, http:// and https:// with a path can.")
    }
    if (uri ==~ /(?i).+\.(tiff?|nrrd|nhdr|nii|nii\.gz|h5|hdf5|ims)(\/.*)?/) {
        error("${where}: ${uri} is read from disks only; by address N5, Zarr and Neuroglancer precomputed can be.")
    }
    def address = uri.replaceFirst(/\/+$/, '')
    def container = address.replaceFirst(/(?i)^(.+?\.(?:n5|zarr|precomputed))\/.*$/, '$1')
    def whole = scales.values().any { scale -> address.endsWith("/${scale.value}") }
    [path: [], address: address, name: container.tokenize('/')[-1]] + scales.collectEntries { use, scale ->
        [use, whole || scale.optional ? address : "${address}/${scale.value}".toString()]
    }
}

def isAddress(uri) {
    uri ==~ /[A-Za-z][A-Za-z0-9+.-]+:\/\/.*/
}

def isNumber(text) {
    text ==~ /[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?/
}

def checkName(uri, where) {
    if (uri =~ /["'$`\\\n*?{}\[\]]/) {
        error("${where}: ${uri} has quotes, brackets or other characters in its name that a shell would take apart; rename it or link to it.")
    }
}

def resolve(uri, folder) {
    (uri.startsWith('/') ? file(uri) : folder.resolve(uri)).normalize()
}

// The file or folder that holds a volume, and what was named in it.
def splitContainer(full) {
    def split = full =~ /(?i)^(.+?\.(?:n5|zarr|precomputed|h5|hdf5|ims))(?:\/(.*))?$/
    if (split) {
        return [file(split[0][1]), split[0][2] ?: '']
    }
    def path = file(full)
    def around = [path] + (1..<path.nameCount).collect { up -> path.root.resolve(path.subpath(0, path.nameCount - up)) }
    def container = around.find { folder -> scaleKeys(folder) } ?: path
    [container, container == path ? '' : container.relativize(path).toString()]
}

// The scales of a Neuroglancer precomputed volume; none where a folder is no such volume.
def scaleKeys(folder) {
    def info = folder.resolve('info')
    def text = info.isFile() ? info.getText('UTF-8') : ''
    text.contains('"scales"') ? new groovy.json.JsonSlurper().parseText(text).scales.collect { scale -> scale.key } : []
}

// The path of the dataset, counted from the folder that the container is staged into.
def findDataset(container, group, scale, where) {
    def base = group ? container.resolve(group) : container
    def dataset = base.resolve(scale.value.toString())
    if (group && container.isDirectory() && !base.exists()) {
        error("${where}: ${container} has no ${group} in it.")
    }
    if (!base.isDirectory() || isArray(base) || isSlices(base) || group in scaleKeys(container) || (scale.optional && !dataset.isDirectory())) {
        return joined([container.name, group])
    }
    if (!dataset.isDirectory()) {
        def names = base.listFiles().toList().findAll { entry -> entry.isDirectory() && !entry.name.startsWith('.') }.collect { entry -> entry.name }.sort()
        error("${where}: ${base} has no scale ${scale.value} (--${scale.name}); it has ${names ? names.take(20).join(', ') : 'no datasets'}.")
    }
    joined([container.name, group, scale.value])
}

def joined(parts) {
    parts.findAll { part -> part }.join('/')
}

// Does a folder hold an array (of N5, Zarr v2 or v3), rather than a group of them?
def isArray(folder) {
    def n5 = folder.resolve('attributes.json')
    def zarr = folder.resolve('zarr.json')
    folder.resolve('.zarray').exists() ||
        (n5.exists() && new groovy.json.JsonSlurper().parseText(n5.getText('UTF-8')).dimensions != null) ||
        (zarr.exists() && new groovy.json.JsonSlurper().parseText(zarr.getText('UTF-8')).node_type == 'array')
}

// Does a folder hold nothing but images, which are the slices of one volume?
def isSlices(folder) {
    def entries = folder.listFiles().toList().findAll { entry -> !entry.name.startsWith('.') }
    entries && entries.every { entry -> entry.isFile() && entry.name ==~ /(?i).+\.(tiff?|png)/ }
}

// A name without its endings: c1 of round2.n5/c1, image of image.ome.tif, brain of brain.nii.gz.
def stem(name) {
    name.replaceFirst(/(?i)(\.ome)?\.(n5|zarr|precomputed|tiff?|nrrd|nhdr|nii(\.gz)?|h5|hdf5|ims|csv)$/, '').replaceAll(/[^A-Za-z0-9._-]/, '_')
}

// What -resume compares instead of the name of a folder: the metadata from the container down to the dataset, and the
// names and times of its files and folders two levels down. A single file needs none: Nextflow looks at it itself. What
// lies at an address is taken not to change.
def fingerprint(volume, use) {
    if (volume == null || volume.address || !volume.path.isDirectory()) {
        return ''
    }
    def steps = volume[use].tokenize('/').drop(1)
    def folders = (0..steps.size()).collect { count -> volume.path.resolve(steps.take(count).join('/')) }
    def names = ['attributes.json', 'zarr.json', '.zgroup', '.zattrs', '.zarray', 'info']
    def metadata = folders.collectMany { folder -> names.collect { name -> folder.resolve(name) } }.findAll { entry -> entry.exists() }
    def chunks = folders[-1].resolve('c')
    def entries = listing(chunks.isDirectory() ? chunks : folders[-1], 5000)
    def parts = entries.findAll { entry -> entry.isDirectory() }
    def deeper = parts.collectMany { entry -> listing(entry, Math.max(1, 10000.intdiv(parts.size()))) }
    def times = (entries + deeper).collect { entry -> "${entry} ${entry.lastModified()}" }
    (metadata.collect { entry -> entry.getText('UTF-8') } + times).join('\n').md5()
}

def listing(folder, most) {
    folder.listFiles().toList().sort { entry -> entry.name }.take(most)
}
