// Command mutants shows that the tests see what they must: it breaks the code deliberately, in one way at a time, and
// expects the test that is named for it to fail.
//
//	go run ./internal/test/mutation [-run regexp] [-jobs n] [-v]
//
// The faults are listed in mutants.txt, as pieces of a diff. None is applied to the working tree: the go command is given
// a changed copy of the file (-overlay), so nothing has to be undone, and only what depends on it is compiled again.
//
// First every named test has to pass on the code as it is. Then, for each fault, the test has to fail. A fault that no
// longer fits the code, does not compile, or that the test does not notice is an error, and so is a test that is skipped
// or does not exist. The tests run on embedded nodes, without the race detector. A test may be in a module beside the library.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"sync"
	"time"
)

func main() {
	only := flag.String("run", "", "only faults whose name matches this regular `expression`")
	jobs := flag.Int("jobs", min(runtime.NumCPU(), 4), "so many faults at a time")
	verbose := flag.Bool("v", false, "show what each test printed")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *only, *jobs, *verbose); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, only string, jobs int, verbose bool) error {
	match, err := regexp.Compile(only)
	if err != nil {
		return err
	}
	root, err := moduleRoot(ctx)
	if err != nil {
		return err
	}
	all, err := parse(listed)
	if err != nil {
		return err
	}
	var chosen []mutant
	for _, m := range all {
		if match.MatchString(m.name) {
			chosen = append(chosen, m)
		}
	}
	scratch, err := os.MkdirTemp("", "mutants")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	b := bench{root: root, scratch: scratch}

	began := time.Now()
	if err := b.unharmed(ctx, chosen, jobs); err != nil {
		return fmt.Errorf("without any fault: %w", err)
	}
	fmt.Printf("the tests pass on the code as it is (%.0f s)\n", time.Since(began).Seconds())

	verdicts := make([]verdict, len(chosen))
	inParallel(len(chosen), jobs, func(i int) { verdicts[i] = b.try(ctx, chosen[i]) }, func(i int) {
		fmt.Println(verdicts[i].line(chosen[i]))
		if verbose {
			fmt.Print(verdicts[i].output)
		}
	})
	caught := 0
	for _, v := range verdicts {
		if v.caught {
			caught++
		}
	}
	fmt.Printf("%d of %d faults caught, %.0f s in all\n", caught, len(chosen), time.Since(began).Seconds())
	if caught < len(chosen) || len(chosen) == 0 {
		return fmt.Errorf("%d of %d faults were not caught", len(chosen)-caught, len(chosen))
	}
	return ctx.Err()
}

// inParallel calls do for 0 to n-1, so many at a time, and then with each that is done, one after the other and in order.
func inParallel(n, jobs int, do, then func(int)) {
	slots := make(chan struct{}, max(jobs, 1))
	done := make([]chan struct{}, n)
	var wg sync.WaitGroup
	for i := range done {
		done[i] = make(chan struct{})
	}
	wg.Go(func() {
		for i := range n {
			slots <- struct{}{}
			wg.Go(func() {
				do(i)
				close(done[i])
				<-slots
			})
		}
	})
	for i := range n {
		<-done[i]
		then(i)
	}
	wg.Wait()
}
