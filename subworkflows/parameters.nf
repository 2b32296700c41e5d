// Checks parameters against nextflow_schema.json and prints the help from it. No plugin is needed for that.

// All rules of the schema, by the name of the parameter.
def parameterRules(schema) {
    schema['$defs'].values().collect { group -> group.properties }.inject([:]) { all, some -> all + some }
}

def readSchema() {
    new groovy.json.JsonSlurper().parseText(file("${moduleDir}/../nextflow_schema.json").getText('UTF-8'))
}

// Ends the run with one sentence about the first parameter that is wrong.
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
    if (value == null || (value.toString() == '' && rule.type == 'string')) {
        return
    }
    def text = value.toString()
    def shapes = [
        boolean: [/true|false/, 'true or false'],
        integer: [/[+-]?\d+/, 'a whole number'],
        number: [/[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?/, 'a number'],
        string: [/(?s).*/, 'a text'],
    ]
    if (rule.type != 'boolean' && (value instanceof Boolean || text == 'true')) {
        error("--${name} needs a value; if that begins with a dash, write --${name}=VALUE.")
    }
    if (!(text ==~ shapes[rule.type][0])) {
        error("--${name} must be ${shapes[rule.type][1]}, not '${text}'.")
    }
    if (rule.minimum != null && text.toBigDecimal() < rule.minimum) {
        error("--${name} must be at least ${rule.minimum}, not ${text}.")
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
    if (rule.exists && !(text ==~ /(tcp|tls|ucx|wss?):\/\/.+/) && !file(text).exists()) {
        error("--${name}: the file ${text} does not exist.")
    }
}

// ' Did you mean --x?' for the name that differs least, or nothing.
def nearMiss(name, names) {
    def wanted = plain(name)
    def best = names.min { candidate -> editDistance(wanted, plain(candidate)) }
    editDistance(wanted, plain(best)) <= 1 + wanted.size().intdiv(4) ? " Did you mean --${best}?" : ''
}

def plain(name) {
    name.toLowerCase().replaceAll(/[-_]/, '')
}

// Levenshtein's: how many letters to change, add or leave out.
def editDistance(left, right) {
    def first = (0..right.size()).toList()
    left.toList().inject(first) { row, letter ->
        right.toList().withIndex().inject([row[0] + 1]) { next, other ->
            def changed = row[other[1]] + (letter == other[0] ? 0 : 1)
            next + [[next[-1] + 1, row[other[1] + 1] + 1, changed].min()]
        }
    }[-1]
}

def helpText(defaults) {
    def schema = readSchema()
    def groups = schema['$defs'].values().collect { group ->
        def lines = group.properties.findAll { _name, rule -> !rule.deprecated && !rule.hidden }.collect { name, rule ->
            def value = defaults[name]
            def ending = value in [null, '', false, true] ? '' : "  [default: ${value}]"
            "  --${name.padRight(30)} ${rule.description}${ending}"
        }
        "${group.title}${group.description ? ': ' + group.description : ''}\n${lines.join('\n')}"
    }
    """\
    |${schema.description}
    |
    |  nextflow run main.nf --fixed fix.n5 --moving mov.n5 --aff_scale s3 --def_scale s2 --use_bigstream --outdir results
    |  nextflow run main.nf --input samplesheet.csv --outdir results -profile slurm,apptainer
    |
    |${groups.join('\n\n')}
    |
    |Parameters can also come from a file: -params-file parameters.yml. Profiles: slurm, lsf, docker, podman, apptainer,
    |singularity. docs/usage.md says more.
    |""".stripMargin()
}

// Parameters from the command line may be texts: 'false' is true otherwise.
def asBoolean(value) {
    value.toString().toBoolean()
}
