package cache_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/cache"
	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/embedded"
	"github.com/venta-hq/redlock/internal/nodetest"
)

const workerVariable = "REDLOCK_CACHE_WORKER"

// TestMain is also the program that the processes of a fleet run.
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
	goleak.VerifyTestMain(m)
}

// job is what one process of the fleet does: for every line that it reads, all its goroutines fetch the key of that name.
// The loads are counted on node 0.
type job struct {
	URLs       []string
	Goroutines int
	Hangs      bool // its load never ends
}

func (j job) run() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	c, err := cluster.Open(ctx, cluster.Config{URLs: j.URLs, NodeTimeout: 10 * time.Second, Logger: quiet})
	if err != nil {
		return err
	}
	s, err := cache.New(c, cache.Config[string]{LeaseTTL: 5 * time.Second, LoadTimeout: 2 * time.Minute})
	if err != nil {
		return err
	}
	o, err := redis.ParseURL(j.URLs[0])
	if err != nil {
		return err
	}
	counter := redis.NewClient(o)
	defer counter.Close()
	fmt.Println("ready")
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
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
		fmt.Println("done")
	}
	return s.Close(ctx)
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

func (w *worker) says(t *testing.T, want string) {
	t.Helper()
	if !w.out.Scan() || strings.TrimSpace(w.out.Text()) != want {
		t.Fatalf("a process said %q (%v), not %q", w.out.Text(), w.out.Err(), want)
	}
}

func (w *worker) fetches(t *testing.T, key string) {
	t.Helper()
	_, err := io.WriteString(w.in, key+"\n")
	must(t, err)
}

func TestAFleetLoadsAMissingKeyOnce(t *testing.T) {
	nodetest.Each(t, 3, func(t *testing.T, s nodetest.Set) {
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
			for _, w := range fleet {
				w.fetches(t, key)
			}
			for _, w := range fleet {
				w.says(t, "done")
			}
			if n := nodetest.Client(t, s, 0).Get(t.Context(), "loads of "+key).Val(); n != loads {
				t.Errorf("%s: the fleet loaded %s times, want %s", key, n, loads)
			}
		}
		all("missing", "1")
		hangs.fetches(t, "left by the dead")
		hangs.says(t, "loading")
		must(t, hangs.cmd.Process.Kill())
		all("left by the dead", "2") // once more, after the lease
	})
}
