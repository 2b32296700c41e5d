// Checks parameters against nextflow_schema.json, without a plugin.

// The rules of the schema, by the name of the parameter.
def parameterRules(schema) {
    schema['$defs'].values().collect { group -> group.properties }.inject([:]) { all, some -> all + some }
}

def readSchema() {
    new groovy.json.JsonSlurper().parseText(file("${moduleDir}/../nextflow_schema.json").getText('UTF-8'))
}

// Ends the run with a sentence about the first parameter that is wrong.
def checkParameters(given) {
    def rules = parameterRules(readSchema())
    given.each { name, value ->
        if (!rules.containsKey(name)) {
            error("There is no parameter --${name}.${nearMiss(name, rules.keySet())} See --help for all of them.")
        }
        checkValue(name, value, rules[name])
    }
    rules.each { name, rule ->
        if (rule.alias_of && given[name] != null) {
            if (given[name].toString() != given[rule.alias_of].toString()) {
                error("--${name} is ${given[name]} and --${rule.alias_of} is ${given[rule.alias_of]}: give --${rule.alias_of} only.")
            }
            log.warn("--${name} is now called --${rule.alias_of}; it still works.")
        }
    }
}

def checkValue(name, value, rule) {
    if (value instanceof List && !rule.separator) {
        error("--${name} takes one value, not the list ${value}.")
    }
    // A list, as a -params-file may have one, means the same as its values in a text.
    def text = value instanceof List ? value.join(rule.separator) : value.toString()
    if (value == null || (text == '' && rule.type == 'string')) {
        return
    }
    def shapes = [
        boolean: [/true|false/, 'true or false'],
        integer: [/[+-]?\d+/, 'a whole number'],
        number: [/[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?/, 'a number'],
        string: [/(?s).*/, 'a text'],
    ]
    if (rule.allow_empty && value == true) { // as Nextflow reads --name ''
        return
    }
    if (rule.type != 'boolean' && (value instanceof Boolean || text == 'true')) {
        error("--${name} needs a value; if that begins with a dash, write --${name}=VALUE.")
    }
    if (!(text ==~ shapes[rule.type][0])) {
        error("--${name} must be ${shapes[rule.type][1]}, not '${text}'.")
    }
    if (rule.minimum != null && text.toBigDecimal() < rule.minimum) {
        error("--${name} must be at least ${rule.minimum}, not ${text}.")
    }
    if (rule.exclusiveMinimum != null && text.toBigDecimal() <= rule.exclusiveMinimum) {
        error("--${name} must be above ${rule.exclusiveMinimum}, not ${text}.")
    }
    if (rule.maximum != null && text.toBigDecimal() > rule.maximum) {
        error("--${name} must be at most ${rule.maximum}, not ${text}.")
    }
    if (rule['enum'] && !(text in rule['enum'])) {
        error("--${name} must be one of ${rule['enum'].join(', ')}, not '${text}'.")
    }
    if (rule.pattern && !(text ==~ rule.pattern)) {
        error("--${name} cannot be '${text}': ${rule.description.replaceFirst(/  \[default.*/, '')}")
    }
    if (rule.exists && !(text ==~ /(tcp|tls|ucx|wss?):\/\/.+/) && !file(text, glob: false).exists()) {
        error("--${name}: the file ${text} does not exist.")
    }
}

// Returns ' Did you mean --x?' for the most similar name, or an empty text where none is similar.
def nearMiss(name, names) {
    def wanted = plain(name)
    def best = names.min { candidate -> editDistance(wanted, plain(candidate)) }
    editDistance(wanted, plain(best)) <= 1 + wanted.size().intdiv(4) ? " Did you mean --${best}?" : ''
}

def plain(name) {
    name.toLowerCase().replaceAll(/[-_]/, '')
}

// Levenshtein's distance: how many letters to change, add or leave out.
def editDistance(left, right) {
    def first = (0..right.size()).toList()
    left.toList().inject(first) { row, letter ->
        right.toList().withIndex().inject([row[0] + 1]) { next, other ->
            def changed = row[other[1]] + (letter == other[0] ? 0 : 1)
            next + [[next[-1] + 1, row[other[1] + 1] + 1, changed].min()]
        }
    }[-1]
}

// The same text as bin/pipeline-help prints, which needs no Nextflow.
def helpText() {
    def running = ["${projectDir}/bin/pipeline-help".toString()].execute()
    def output = new ByteArrayOutputStream()
    running.waitForProcessOutput(output, System.err)
    output.toString('UTF-8')
}

// Reads a parameter that may be a text, as those of the command line are: Groovy takes the text 'false' for true.
def asBoolean(value) {
    value.toString().toBoolean()
}

// Where a Dask scheduler or worker listens, as options of its command.
def networkOptions(parameters) {
    ['interface': parameters.dask_interface, ports: parameters.dask_ports]
        .findAll { _name, value -> isGiven(value) }
        .collect { name, value -> "--${name} ${value}" }
        .join(' ')
}

// Has a parameter a value? 0 and false are values; an empty text is not.
def isGiven(value) {
    value != null && value.toString() != ''
}
