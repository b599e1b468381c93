package cache_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/cache"
	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/embedded"
	"github.com/venta-hq/redlock/internal/face"
	"github.com/venta-hq/redlock/internal/nodeset"
	"github.com/venta-hq/redlock/internal/test/harness"
)

const workerVariable = "REDLOCK_CACHE_WORKER"

// TestMain is also the program of the processes of a fleet.
func TestMain(m *testing.M) {
	if text := os.Getenv(workerVariable); text != "" {
		var job job
		if err := json.Unmarshal([]byte(text), &job); err != nil {
			panic(err)
		}
		if err := job.run(); err != nil {
			fmt.Println("failed:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	harness.Main(m)
}

// job describes the work of one process of the fleet: for every line that it
// reads, all its goroutines fetch the key of that name. The loads are counted
// on node 0.
type job struct {
	URLs       []string
	Goroutines int
	Hangs      bool // its load never ends

	// Watched is a key. If it is set, the process alternately reads two lines:
	// the value of the key, and a line once the key has been deleted. It
	// reports when it has the value in memory, and when the value is gone.
	Watched string
}

func (j job) run() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	// If a process pauses for as long as its lease, another process loads. A
	// load that hangs is waited for.
	cfg, nodeTimeout := cache.Config[string]{LeaseTTL: time.Minute, LoadTimeout: 2 * time.Minute}, 10*time.Second
	if j.Hangs {
		cfg.LeaseTTL = time.Second
	}
	if j.Watched != "" {
		cfg, nodeTimeout = withNear, 500*time.Millisecond
	}
	c, err := cluster.Open(ctx, cluster.Config{URLs: j.URLs, NodeTimeout: nodeTimeout, Logger: quiet})
	if err != nil {
		return err
	}
	s, err := cache.New(c, cfg)
	if err != nil {
		return err
	}
	o, err := redis.ParseURL(j.URLs[0])
	if err != nil {
		return err
	}
	counter := redis.NewClient(o)
	defer counter.Close()
	nodes := face.In(c).Nodes()
	for _, n := range nodes {
		if back := n.Incarnation().Back; !back.IsZero() {
			// The node did not answer at first: entries stored until then are
			// not served.
			harness.Past(back.Add(nodeTimeout))
		}
	}
	before := outages(nodes)
	fmt.Println("ready")
	lines := bufio.NewScanner(os.Stdin)
	if j.Watched != "" {
		return errors.Join(j.watch(ctx, s, lines), s.Close(ctx))
	}
	for lines.Scan() {
		key := lines.Text()
		load := func(ctx context.Context) (string, error) {
			counter.Incr(ctx, "loads of "+key)
			if j.Hangs {
				fmt.Println("loading")
				select {}
			}
			return "v", nil
		}
		if err := j.fetch(ctx, s, key, load); err != nil {
			return err
		}
		if slices.Equal(before, outages(nodes)) {
			fmt.Println("done")
		} else {
			fmt.Println(doneThroughOutage)
		}
	}
	return s.Close(ctx)
}

// doneThroughOutage is the report of a process after a fetch that outlasted the
// NodeTimeout of a node. The node then counts as having been unreachable, so
// entries that it stored before are not served.
const doneThroughOutage = "done, a node was unreachable"

// outages returns when each node was last unreachable.
func outages(nodes []*nodeset.Node) (last []time.Time) {
	for _, n := range nodes {
		back := n.Incarnation().Back
		if !n.Up() {
			back = time.Now()
		}
		last = append(last, back)
	}
	return last
}

func (j job) fetch(ctx context.Context, s *cache.Cache[string], key string, load cache.Loader[string]) error {
	failed := make(chan error, j.Goroutines)
	var wg sync.WaitGroup
	for range j.Goroutines {
		wg.Go(func() {
			if v, err := s.Fetch(ctx, key, load); v != "v" || err != nil {
				failed <- fmt.Errorf("fetched %q, %w", v, err)
			}
		})
	}
	wg.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

// watch reads the key continuously, and fails if it gets a deleted value
// although all messages have arrived since.
func (j job) watch(ctx context.Context, s *cache.Cache[string], lines *bufio.Scanner) error {
	for lines.Scan() {
		value := lines.Text()
		for before := s.Stats().NearHits; s.Stats().NearHits == before && ctx.Err() == nil; {
			s.Get(ctx, j.Watched)
		}
		fmt.Println("in memory")
		deleted := make(chan time.Time, 1)
		go func() {
			lines.Scan()
			deleted <- time.Now()
		}()
		var at time.Time
		for ctx.Err() == nil {
			select {
			case at = <-deleted:
			default:
			}
			heard := !at.IsZero() && !s.Heard(0).Before(at)
			v, _, err := s.Get(ctx, j.Watched)
			if heard && v == value {
				return errors.New("what was deleted is served")
			}
			if heard && err == nil {
				break
			}
		}
		if ctx.Err() == nil {
			fmt.Println("gone")
		}
	}
	return ctx.Err()
}

// worker is a running process of the fleet.
type worker struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

func (j job) start(t *testing.T) *worker {
	t.Helper()
	text, err := json.Marshal(j)
	must(t, err)
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), workerVariable+"="+string(text))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	w := &worker{cmd, in, bufio.NewScanner(out)}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return w
}

// says waits until the process reports one of want, and returns it.
func (w *worker) says(t *testing.T, want ...string) string {
	t.Helper()
	if !w.out.Scan() || !slices.Contains(want, strings.TrimSpace(w.out.Text())) {
		t.Fatalf("a process reported %q (%v), not %q", w.out.Text(), w.out.Err(), want)
	}
	return strings.TrimSpace(w.out.Text())
}

func (w *worker) reads(t *testing.T, line string) {
	t.Helper()
	_, err := io.WriteString(w.in, line+"\n")
	must(t, err)
}

func TestCache_Fetch_FleetLoadsAMissingKeyOnce(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, s harness.Set) {
		t.Parallel()
		j := job{URLs: s.URLs(), Goroutines: 1000}
		if _, slow := s.(*embedded.Nodes); slow {
			j.Goroutines = 100
		}
		var fleet []*worker
		for range 8 {
			fleet = append(fleet, j.start(t))
		}
		hangs := job{URLs: s.URLs(), Goroutines: 1, Hangs: true}.start(t)
		for _, w := range append(fleet, hangs) {
			w.says(t, "ready")
		}
		all := func(key, loads string) {
			began, outage := time.Now(), false
			for _, w := range fleet {
				w.reads(t, key)
			}
			for _, w := range fleet {
				outage = w.says(t, "done", doneThroughOutage) == doneThroughOutage || outage
			}
			n := harness.Client(t, s, 0).Get(t.Context(), "loads of "+key).Val()
			switch {
			case n == loads:
			case outage:
				harness.Missed(t, began, "%s: the fleet loaded %s times, and a node did not answer in time", key, n)
			default:
				t.Errorf("%s: the fleet loaded %s times, want %s", key, n, loads)
			}
		}
		all("missing", "1")
		hangs.reads(t, "left by the dead")
		hangs.says(t, "loading")
		must(t, hangs.cmd.Process.Kill())
		all("left by the dead", "2") // once more, after the lease
	})
}
