# Takes the page of one file out of docs/configuration.md:
#
#   awk -v file=server.yaml -f section5.awk docs/configuration.md
#
# The introduction and the sections that belong to no file are on every page. Tables, which a terminal is too narrow for, become definition lists, and
# links to other documents their text.

# "## server.yaml" and the like begin the part of a file, other headings a common one.
/^# / { next }
/^## / {
    part = $2 ~ /\.yaml$/ ? $2 : "common"
    if (part == "common") common = common "\n# " toupper(substr($0, 4)) "\n"
    next
}
# The line of a table below its head.
/^\|[-| :]+\|$/ { next }
/^\|/ {
    line = $0
    gsub(/\\\|/, "\001", line)
    sub(/^\| */, "", line)
    sub(/ *\| *$/, "", line)
    cells = split(line, cell, / *\| */)
    if (!in_table) {
        in_table = 1
        default_column = cells == 3 && cell[2] == "default"
        next
    }
    text = cell[cells] == "" ? "As configured." : cell[cells]
    if (text !~ /[.)]$/) text = text "."
    if (default_column) text = text " Default: " cell[2] "."
    $0 = "\n" cell[1] "\n: " text
    gsub("\001", "|")
    add()
    next
}
{ in_table = 0; add() }

function add() {
    # References to other documents and sections: their text is enough here.
    while (match($0, /\[[^]]*\]\([^)]*\)/)) {
        link = substr($0, RSTART, RLENGTH)
        sub(/^\[/, "", link)
        sub(/\]\(.*$/, "", link)
        $0 = substr($0, 1, RSTART - 1) link substr($0, RSTART + RLENGTH)
    }
    if (part == "") intro = intro $0 "\n"
    else if (part == "common") common = common $0 "\n"
    else if (part == file) own = own $0 "\n"
}

END {
    if (own == "") {
        print "docs/configuration.md has no section ## " file > "/dev/stderr"
        exit 1
    }
    print "# DESCRIPTION\n\n" intro "\n# KEYS\n" own common
}
