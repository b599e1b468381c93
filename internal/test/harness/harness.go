package harness

import (
	"errors"
	"testing"

	"github.com/venta-hq/redlock/embedded"
	"github.com/venta-hq/redlock/internal/test/redisserver"
)

// Set is a set of independent nodes on which a test can inject faults. Its
// methods panic if a node's index is not in the range 0 to Len()-1.
type Set interface {
	// URLs returns the nodes' addresses in the order of their indexes.
	URLs() []string
	Len() int
	// Stop kills node i.
	Stop(i int)
	// Restart starts node i again on its address, whatever state it is in,
	// with a new run_id, and without its data if lose is true.
	Restart(i int, lose bool) error
	// Pause freezes node i until Resume: it accepts connections and commands,
	// but executes nothing. It executes these commands after Resume, even for
	// clients that have disconnected.
	Pause(i int)
	Resume(i int)
	// Commands returns how many times node i executed each command since it
	// last started, by the names of INFO commandstats.
	Commands(i int) map[string]int64
	// Close stops the nodes. It can be called more than once.
	Close()
}

var (
	_ Set = (*embedded.Nodes)(nil)
	_ Set = (*redisserver.Nodes)(nil)
)

// Each runs fn as one subtest for each backend, on a fresh set of n nodes that
// is closed after the subtest. All of them can be restarted with their data.
func Each(t *testing.T, n int, fn func(t *testing.T, s Set)) {
	t.Helper()
	each(t, func(name string, start func(t *testing.T) Set) {
		t.Run(name, func(t *testing.T) { fn(t, start(t)) })
	}, n)
}

// Beside is [Each] with the backends in parallel with each other and with other
// tests. It marks t as parallel, so t must not be parallel already. It returns
// before fn has run, so it must be the last call of the test.
func Beside(t *testing.T, n int, fn func(t *testing.T, s Set)) {
	t.Helper()
	t.Parallel()
	each(t, func(name string, start func(t *testing.T) Set) {
		t.Run(name, func(t *testing.T) { t.Parallel(); fn(t, start(t)) })
	}, n)
}

// each calls run for each backend that this part of the tests is for.
func each(t *testing.T, run func(name string, start func(t *testing.T) Set), n int) {
	t.Helper()
	c := mustChoose(t).each()
	if c.embedded {
		run(nameEmbedded, func(t *testing.T) Set { return startEmbedded(t, n) })
	}
	if c.redis {
		run(nameRedis, func(t *testing.T) Set { return startReal(t, c, n, redisserver.Options{Persist: true}) })
	}
	if !c.embedded && !c.redis {
		t.Skip(RanBefore)
	}
}

// Embedded starts n embedded nodes, closed at the end of the test. It does so
// whatever REDLOCK_TEST_BACKENDS says.
func Embedded(t testing.TB, n int) Set {
	t.Helper()
	skipRanBefore(t)
	return startEmbedded(t, n)
}

func startEmbedded(t testing.TB, n int) Set {
	t.Helper()
	s, err := embedded.Start(n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// Real starts n redis-server processes, closed at the end of the test. It skips
// the test if real nodes are excluded, or if redis-server is not installed and
// neither REDLOCK_TEST_BACKENDS nor REDLOCK_TEST_SERVER asks for it.
func Real(t testing.TB, n int, o redisserver.Options) Set {
	t.Helper()
	skipRanBefore(t)
	return startReal(t, mustChoose(t), n, o)
}

func startReal(t testing.TB, c choice, n int, o redisserver.Options) Set {
	t.Helper()
	if !c.redis {
		t.Skipf("%s excludes real nodes: it is %q", variable, c.variable)
	}
	if _, err := redisserver.Available(); err != nil {
		if c.explicit {
			t.Fatalf("%s asks for real nodes: %v", variable, err)
		}
		if !errors.Is(err, redisserver.ErrNotInstalled) {
			t.Fatal(err)
		}
		t.Skipf("no real nodes: %v", err)
	}
	s, err := redisserver.Start(n, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func mustChoose(t testing.TB) choice {
	t.Helper()
	c, err := choose()
	if err != nil {
		t.Fatal(err)
	}
	return c
}
