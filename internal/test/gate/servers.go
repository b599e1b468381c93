package main

import (
	"cmp"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// leftOut is the reason why a stage has nothing to run.
type leftOut string

func (l leftOut) Error() string { return string(l) }

// server is a server that scripts/servers.sh has fetched.
type server struct {
	program string // such as "valkey"
	version string // such as "9.1.2"
	path    string
}

// servers returns the fetched servers, the newest of each program first.
func (g *gate) servers() (all []server, err error) {
	files, err := filepath.Glob(filepath.Join(g.root, "bin", "servers", "*", "from"))
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		dir := filepath.Dir(file)
		from, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		version, err := os.ReadFile(filepath.Join(dir, "version"))
		if err != nil {
			return nil, err
		}
		program, _, _ := strings.Cut(string(from), " ")
		all = append(all, server{program, strings.TrimSpace(string(version)), filepath.Join(dir, "redis-server")})
	}
	slices.SortStableFunc(all, func(a, b server) int {
		return cmp.Or(cmp.Compare(a.program, b.program), slices.Compare(numbers(b.version), numbers(a.version)))
	})
	return all, nil
}

// numbers returns the parts of a version.
func numbers(version string) (all []int) {
	for part := range strings.SplitSeq(version, ".") {
		n, _ := strconv.Atoi(part)
		all = append(all, n)
	}
	return all
}

// on makes the tests of a command run on this server only.
func (s server) on(c command) command {
	c.env = append(slices.Clone(c.env), "REDLOCK_TEST_SERVER="+s.path, "REDLOCK_TEST_BACKENDS=redis")
	c.on = s.program + " " + s.version
	return c
}

// newestValkey runs the tests of locks and of the set, and a short round of the
// chaos tests, on the newest fetched Valkey.
func newestValkey(_ context.Context, g *gate) ([]command, error) {
	all, err := g.servers()
	if err != nil {
		return nil, err
	}
	for _, s := range all {
		if s.program == "valkey" {
			return []command{
				s.on(command{args: []string{"-parallel=8"}, packages: []string{"./lock", "./cluster"}}),
				s.on(chaosRound()),
			}, nil
		}
	}
	return nil, leftOut("no Valkey in bin/servers: make servers fetches some")
}

// errNoServers fails make gate-full, which would otherwise pass without a test.
var errNoServers = errors.New("no servers in bin/servers: make servers fetches them or says why it cannot")

// everyServer runs the tests of all packages on every fetched server.
func everyServer(ctx context.Context, g *gate) (commands []command, err error) {
	all, err := g.servers()
	if err == nil && len(all) == 0 {
		err = errNoServers
	}
	if err != nil {
		return nil, err
	}
	packages, err := g.packages(ctx)
	for _, s := range all {
		commands = append(commands, s.on(command{args: []string{"-p=2", "-parallel=8"}, packages: packages}))
	}
	return commands, err
}
