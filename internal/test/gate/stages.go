package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// A stage is a list of commands that run one after another until one fails.
type stage struct {
	name     string
	note     string // printed while it runs
	commands func(ctx context.Context, g *gate) ([]command, error)
}

// command is one program of a stage.
type command struct {
	dir   string // below the root of the module; "" is the root
	env   []string
	args  []string // of a program, or flags of go test if there are packages
	quiet bool     // any output is a failure
	on    string   // the server that the tests run on, if the stage chose one

	packages []string // to test; the results are read
}

// beside are separate modules, so that their dependencies stay out of the
// library's go.mod.
var beside = []string{"contrib/fence", "contrib/gocron", "contrib/scs", "benchmarks", "docs/tests", "deploy/tests", "examples/shop", "web/browser"}

// The flags of go test. -count=1: a cached result from before redis-server was
// installed must not be used. The timeout is for tests that hang; a slow
// machine must not reach it. A separate stage runs vet. Symbols for debuggers
// would take most of the time of linking.
var testFlags = []string{"-count=1", "-timeout=60m", "-vet=off", "-ldflags=-s -w"}

// compileFast returns an environment that halves the time of compiling: nothing
// is inlined, and no data for debuggers is written. All commands use it, so
// that they share the build cache.
func compileFast() string {
	flags := os.Getenv("GOFLAGS")
	if !strings.Contains(flags, "-gcflags") {
		flags = strings.TrimSpace(flags + " '-gcflags=all=-l -dwarf=false'")
	}
	return "GOFLAGS=" + flags
}

// tiers are the stages of each make target, in their order.
var tiers = map[string][]stage{
	"test": {
		{"compile", "the first time takes a few minutes", compileTests},
		{"tests of all packages, race detector", "", raceTests},
		{"simulation in virtual time", "", simulation},
		{"chaos, a short round on real nodes", "", commands(chaosRound())},
	},
	"gate": {
		{"gofmt", "", gofmt},
		{"staticcheck", "", commands(command{args: []string{"go", "tool", "-modfile=tools/go.mod", "staticcheck", "./..."}})},
		{"go mod tidy", "", tidy},
		{"go vet for linux, darwin and windows", "", vet},
		{"deliberate faults still fit the code", "", commands(command{packages: []string{"./internal/test/mutation"}})},
		{"tests on the other backend, race detector", "", otherBackend},
		{"compile the modules beside the library", "", compileBeside},
		{"tests of the modules beside the library: adapters, databases, benchmarks, metrics, dashboard, deployment files, the shop, pages in a browser", "", besideTests},
		{"locks, cluster and a short round of chaos on the newest Valkey of make servers", "", newestValkey},
		{"command line in terminals", "", commands(command{
			env: []string{"REDLOCK_TEST_TERMINALS=1"}, args: []string{"-run=Terminal|Complet"}, packages: []string{"./cmd/redlock"},
		})},
		{"a lock beside bulk work, in full", "", commands(command{
			env: []string{"REDLOCK_TEST_BULK=full"}, args: []string{"-run=BulkWorkCostsNoLock"}, packages: []string{"./cache"},
		})},
		{"chaos, a full round on real nodes", "", commands(command{
			env: []string{"REDLOCK_CHAOS_ROUND=full"}, packages: []string{"./chaos_test"},
		}, command{
			dir: "contrib/fence", args: []string{"-run=Chaos"}, packages: []string{"."},
		})},
	},
	"full": {
		{"all packages on every server of make servers", "8 minutes for each on two quiet cores", everyServer},
	},
}

// chaosRound is a short round of the chaos tests.
func chaosRound() command {
	return command{env: []string{"REDLOCK_TEST_PART=first"}, packages: []string{"./chaos_test"}}
}

func commands(all ...command) func(context.Context, *gate) ([]command, error) {
	return func(context.Context, *gate) ([]command, error) { return all, nil }
}

// apart is the package that is not tested under the race detector, because the
// clients of the chaos tests would miss their time-outs.
const apart = "/chaos_test"

func compileTests(ctx context.Context, g *gate) ([]command, error) {
	packages, err := g.packages(ctx)
	return []command{compiled("", g.race(ctx), packages...), compiled("", nil, "./internal/test/sim", "./chaos_test")}, err
}

func raceTests(ctx context.Context, g *gate) ([]command, error) {
	packages, err := g.packages(ctx)
	if err != nil {
		return nil, err
	}
	first := []string{"REDLOCK_TEST_PART=first"}
	return []command{{env: first, args: append(g.race(ctx), "-p=2", "-parallel=8"), packages: packages}}, nil
}

// otherBackend runs the tests that ran on real nodes before on embedded nodes.
func otherBackend(ctx context.Context, g *gate) ([]command, error) {
	rest := command{env: []string{"REDLOCK_TEST_PART=rest"}, args: append(g.race(ctx), "-p=2", "-parallel=8")}
	for _, folder := range []string{"cache", "cmd/redlock", "fence", "internal/keepalive", "internal/nodeset", "internal/quorumlock", "internal/record", "internal/test/harness", "lock", "session"} {
		rest.packages = append(rest.packages, "./"+folder)
	}
	return []command{rest}, nil
}

func simulation(ctx context.Context, g *gate) ([]command, error) {
	return []command{{packages: []string{"./internal/test/sim"}}}, nil
}

// gofmt runs the gofmt of the Go installation, which need not be in the PATH.
func gofmt(ctx context.Context, g *gate) ([]command, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return nil, err
	}
	program := filepath.Join(strings.TrimSpace(string(out)), "bin", "gofmt")
	return []command{{args: []string{program, "-l", "."}, quiet: true}}, nil
}

func tidy(context.Context, *gate) (all []command, err error) {
	for _, dir := range append([]string{"", "tools"}, beside...) {
		all = append(all, command{dir: dir, args: []string{"go", "mod", "tidy", "-diff"}})
	}
	return all, nil
}

// vet type-checks the tests as well, which go build does not compile.
func vet(context.Context, *gate) (all []command, err error) {
	for _, goos := range []string{"linux", "darwin", "windows"} {
		all = append(all, command{env: []string{"GOOS=" + goos}, args: []string{"go", "vet", "./..."}})
	}
	for _, dir := range beside {
		all = append(all, command{dir: dir, args: []string{"go", "vet", "./..."}})
	}
	return all, nil
}

func compileBeside(ctx context.Context, g *gate) (all []command, err error) {
	race := g.race(ctx)
	for _, dir := range beside {
		all = append(all, compiled(dir, race, "./..."))
	}
	return all, nil
}

func besideTests(ctx context.Context, g *gate) (all []command, err error) {
	race := g.race(ctx)
	for _, dir := range beside {
		all = append(all, command{dir: dir, args: race, packages: []string{"./..."}})
	}
	return all, nil
}

// compiled compiles everything that the tests of packages need. go test -p=1
// would do so on one processor only.
func compiled(dir string, race []string, packages ...string) command {
	return command{dir: dir, args: slices.Concat([]string{"go", "list"}, race,
		[]string{"-export", "-test", "-deps", "-f", "{{if .Error}}{{.Error}}{{end}}"}, packages)}
}

// race returns the flag of the race detector, or nothing if it is not
// supported.
func (g *gate) race(ctx context.Context) []string {
	if g.raceFlag == nil { // not determined yet
		g.raceFlag = []string{}
		cmd := exec.CommandContext(ctx, "go", "list", "-race", "runtime")
		cmd.Dir = g.root
		if cmd.Run() == nil {
			g.raceFlag = []string{"-race"}
		}
	}
	return slices.Clone(g.raceFlag)
}

// packages returns the packages of the library, except those that run apart.
func (g *gate) packages(ctx context.Context) ([]string, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "./...")
	cmd.Dir = g.root
	out, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	all := strings.Fields(string(out))
	return slices.DeleteFunc(all, func(pkg string) bool { return strings.HasSuffix(pkg, apart) }), nil
}
