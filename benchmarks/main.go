//go:build unix

package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"
	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/internal/test/redisserver"
)

type flags struct {
	Only     []string      `help:"Only the workloads whose names begin with one of these." placeholder:"NAME"`
	Duration time.Duration `default:"3s" help:"How long a turn lasts. Default ${default}."`
	Rounds   int           `default:"3" help:"How many turns each library has at each workload; the medians count. Default ${default}."`
	Write    string        `type:"existingdir" placeholder:"DIR" help:"Write performance.md and performance.svg there."`
}

func (f *flags) Validate() error {
	switch {
	case f.Duration < 100*time.Millisecond || f.Duration > time.Minute:
		return fmt.Errorf("--duration %v: from 100ms to 1m", f.Duration)
	case f.Rounds < 1 || f.Rounds > 99:
		return fmt.Errorf("--rounds %d: from 1 to 99", f.Rounds)
	case len(f.chosen()) == 0:
		return fmt.Errorf("--only %s: no workload begins so; there are: %s", strings.Join(f.Only, ","), strings.Join(workloadNames(), ", "))
	}
	return nil
}

func workloadNames() []string {
	names := make([]string, len(workloads))
	for i, w := range workloads {
		names[i] = w.name
	}
	return names
}

func (f *flags) chosen() []workload {
	if len(f.Only) == 0 {
		return workloads
	}
	return slices.DeleteFunc(slices.Clone(workloads), func(w workload) bool {
		return !slices.ContainsFunc(f.Only, func(prefix string) bool { return strings.HasPrefix(w.name, prefix) })
	})
}

func main() {
	if text := os.Getenv(orderVariable); text != "" {
		if err := obey(text); err != nil {
			fmt.Fprintln(os.Stderr, "benchmarks:", err)
			os.Exit(1)
		}
		return
	}
	var f flags
	kong.Parse(&f, kong.Name("benchmarks"), kong.Description("Measures redlock beside other lock libraries for Go, on five redis-server processes that it starts."))
	if err := f.run(); err != nil {
		fmt.Fprintln(os.Stderr, "benchmarks:", err)
		os.Exit(1)
	}
}

func (f *flags) run() error {
	b, end, err := start(f.Duration)
	if err != nil {
		return err
	}
	defer end()
	redis.SetLogger(silent{}) // what go-redis says of a frozen node is in the figures
	var all []row
	var broken []string
	for _, w := range f.chosen() {
		rows, wrong := b.measure(w, f.Rounds)
		all = append(all, rows...)
		broken = append(broken, wrong...)
		printRows(os.Stdout, w, rows)
	}
	if f.Write != "" {
		if err := write(f.Write, machine(), f, all); err != nil {
			return err
		}
	}
	if len(broken) > 0 {
		return fmt.Errorf("%d times redlock did what it must not; the first: %s", len(broken), broken[0])
	}
	return nil
}

// start starts the nodes.
func start(duration time.Duration) (b *bench, end func(), err error) {
	nodes, err := redisserver.Start(nodeCount, redisserver.Options{})
	if err != nil {
		return nil, nil, err
	}
	b = &bench{nodes: nodes, duration: duration}
	end = func() {
		for _, c := range b.clients {
			_ = c.Close()
		}
		nodes.Close()
	}
	for _, u := range nodes.URLs() {
		client, err := pooled(u)
		if err != nil {
			end()
			return nil, nil, err
		}
		b.clients = append(b.clients, client)
	}
	return b, end, nil
}

// row is one library at one workload.
type row struct {
	workload workload
	name     string
	figures
	broken int // holders that overlapped, tokens that did not grow
	err    error
}

// measure has everybody take turns. What broke an order is returned for this module, and counted for the others.
func (b *bench) measure(w workload, rounds int) (rows []row, broken []string) {
	turns := map[string][]figures{}
	rows = make([]row, len(w.names))
	for range rounds {
		for i, name := range w.names {
			r := &rows[i]
			r.workload, r.name = w, name
			if r.err != nil {
				continue
			}
			s, err := w.turn(b, name)
			if err != nil {
				r.err = err
				continue
			}
			wrong := append(s.Broken, judge(s.Holds)...)
			r.broken += len(wrong)
			if name == ours {
				if s.Failed > 0 {
					wrong = append(wrong, "an operation failed: "+s.Error)
				}
				for _, text := range wrong {
					broken = append(broken, w.name+": "+text)
				}
			}
			f, err := s.figures()
			if err != nil {
				r.err = err
				continue
			}
			turns[name] = append(turns[name], f)
		}
	}
	for i, name := range w.names {
		switch {
		case rows[i].err == nil:
			rows[i].figures = middle(turns[name])
		case name == ours:
			broken = append(broken, w.name+": "+rows[i].err.Error())
		}
	}
	return rows, broken
}
