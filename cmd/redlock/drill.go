package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/face"
	"github.com/venta-hq/redlock/internal/nodeset"
	"github.com/venta-hq/redlock/internal/present"
	"github.com/venta-hq/redlock/lock"
)

type drillCmd struct {
	Names []string      `arg:"" optional:"" name:"NODE" help:"The nodes to stop, by their names in redlock nodes. Default: the last one."`
	For   time.Duration `default:"10s" placeholder:"D" help:"How long they stop, from 1s to 60s. Default ${default}."`
	Yes   bool          `short:"y" help:"Confirm that nodes which programs use may be stopped."`

	lockFlags
}

func (drillCmd) Help() string {
	return `Practises an outage: nodes stop answering all clients for a while (CLIENT PAUSE), and resume by themselves. Nothing ends the ` +
		`pause early. The nodes keep their data and their connections, so it is a node that hangs, not one that crashes.

Meanwhile this command acquires and releases a lock of its own again and again, as the fleet does, and prints how that went ` +
		`before, during and after the pause, and how many of the locks that were held before are held by the same holders after it.

It refuses if the other nodes are not a quorum that votes. The user of the nodes needs the rights +client|pause and +scan ` +
		`in addition to those of locks (cluster.OperatorRights).

  redlock drill --yes
  redlock drill --yes --for 30s 10.0.0.2:6379 10.0.0.3:6379

Exit codes: 0 no lock of its own was refused, 1 some were, or a node could not be stopped or does not vote again, 2 bad flags, nodes or rights, 69 the other nodes would not be a quorum.`
}

// drillAround is how long the drill measures before and after the pause.
const drillAround = 2 * time.Second

func (r *drillCmd) Run() error {
	switch {
	case r.For < time.Second || r.For > time.Minute:
		return misused("--for %v: from 1s to 60s", r.For)
	case r.Output == "json":
		return misused("--output json: not supported by drill")
	case !r.Yes:
		return misused("--yes: is missing; a drill stops nodes that programs use. It is safe while a quorum of the others is up, and makes their waits longer")
	}
	return r.open(r.Prefix, false, func(ctx context.Context, v *view) error {
		targets, err := r.targets(v)
		if err != nil {
			return err
		}
		before := heldLocks(ctx, v)
		seen := newDrill(v)
		done := make(chan struct{})
		go func() { defer close(done); seen.work(ctx) }()
		err = r.practise(ctx, seen, targets)
		seen.stop()
		<-done
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if seen.paused() {
			seen.report(before, heldLocks(ctx, v))
		}
		if err := errors.Join(err, seen.refused()); err != nil {
			return failed(exitFailure, err)
		}
		fmt.Fprintln(stdout, "No lock of the drill was refused.")
		return nil
	})
}

// targets returns the nodes to stop. The other nodes must be a quorum that
// votes.
func (r *drillCmd) targets(v *view) ([]*nodeset.Node, error) {
	status := v.c.Status()
	names := r.Names
	if len(names) == 0 {
		names = []string{status[len(status)-1].Node}
	}
	var targets []*nodeset.Node
	for _, n := range face.In[*cluster.Cluster](v.c).Nodes() {
		if slices.Contains(names, n.Name()) {
			targets = append(targets, n)
		}
	}
	for _, name := range names {
		if !slices.ContainsFunc(status, func(s cluster.Status) bool { return s.Node == name }) {
			return nil, misused("NODE %s: is not one of the nodes; redlock nodes lists their names", shown(name))
		}
	}
	left := 0
	for _, s := range status {
		if s.Up && s.Votes && !slices.Contains(names, s.Node) {
			left++
		}
	}
	if left < v.c.Quorum() {
		return nil, failed(exitNoQuorum, fmt.Errorf("without %s, %s, and a quorum is %d, so nothing could be locked; stop fewer nodes, or wait until all vote",
			strings.Join(names, ", "), plural(left, "node votes", "nodes vote"), v.c.Quorum()))
	}
	return targets, nil
}

// practise pauses the nodes, and waits until all of them vote again.
func (r *drillCmd) practise(ctx context.Context, d *drill, targets []*nodeset.Node) error {
	d.say(plain, "", "acquiring and releasing %s for %v first", shown(d.key), drillAround)
	pauseFor(ctx, drillAround)
	d.next()
	var errs []error
	var stopped []*nodeset.Node
	for _, n := range targets {
		if err := n.PauseClients(ctx, r.For); err != nil {
			errs = append(errs, fmt.Errorf("node %s: not stopped: %w", shown(n.Name()), drillError(err)))
			continue
		}
		stopped = append(stopped, n)
		d.say(fault, n.Name(), "answers nobody for %v", r.For)
	}
	if len(stopped) == 0 {
		return errors.Join(errs...)
	}
	end := time.Now().Add(r.For)
	for ctx.Err() == nil && (time.Now().Before(end) || len(absent(stopped)) > 0 && time.Now().Before(end.Add(d.patience))) {
		d.notice(stopped)
		pauseFor(ctx, 20*time.Millisecond)
	}
	d.notice(stopped)
	for _, n := range absent(stopped) {
		errs = append(errs, fmt.Errorf("node %s: does not vote %v after its pause has ended; see redlock nodes", shown(n.Name()), d.patience))
	}
	d.next()
	pauseFor(ctx, drillAround)
	return errors.Join(errs...)
}

// drillPatience is how long after its pause a node may take to vote again.
const drillPatience = 30 * time.Second

func drillError(err error) error {
	if present.Denied(err) {
		return fmt.Errorf("%w; allow it to this user: ACL SETUSER name +client|pause", err)
	}
	return err
}

func pauseFor(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// drill is the record of an outage.
type drill struct {
	*printer
	v    *view
	key  string
	down map[string]bool
	ends chan struct{}

	patience time.Duration // how long after its pause a node may take to vote again

	mu     sync.Mutex
	phases [3]drillPhase // before, during and after the pause
	now    int
}

type drillPhase struct {
	took    []time.Duration // times of acquired locks
	refused int
	why     error
}

func newDrill(v *view) *drill {
	return &drill{printer: newPrinter(), v: v, key: "redlock-drill-" + rand.Text(), down: map[string]bool{}, ends: make(chan struct{}), patience: drillPatience}
}

func (d *drill) stop() { close(d.ends) }

func (d *drill) next() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.now++
}

// paused reports whether there was a pause.
func (d *drill) paused() bool { return d.now == len(d.phases)-1 }

// drillWait is how long the drill waits for its lock, for which no other
// process contends, before the lock counts as refused.
const drillWait = 2 * time.Second

// work acquires and releases a lock until stop. A lock counts for the phase in
// which its acquisition began.
func (d *drill) work(ctx context.Context) {
	for ctx.Err() == nil {
		select {
		case <-d.ends:
			return
		case <-time.After(20 * time.Millisecond):
		}
		d.mu.Lock()
		phase := &d.phases[d.now]
		d.mu.Unlock()
		began := time.Now()
		err := d.v.locker.WithLock(ctx, d.key, func(context.Context) error { return nil }, lock.TTL(10*time.Second), lock.Wait(drillWait))
		took := time.Since(began)
		d.mu.Lock()
		switch {
		case err == nil:
			phase.took = append(phase.took, took)
		case ctx.Err() == nil:
			phase.refused++
			phase.why = err
		}
		d.mu.Unlock()
	}
}

// notice prints which nodes have gone down or are up again.
func (d *drill) notice(targets []*nodeset.Node) {
	for _, n := range targets {
		if down := !n.Up(); down != d.down[n.Name()] {
			d.down[n.Name()] = down
			if down {
				d.say(fault, n.Name(), "found down; it is not asked in the meantime")
			} else {
				d.say(fixed, n.Name(), "found up")
			}
		}
	}
}

// absent returns the nodes that do not answer or do not vote.
func absent(nodes []*nodeset.Node) []*nodeset.Node {
	return slices.DeleteFunc(slices.Clone(nodes), func(n *nodeset.Node) bool { return n.Up() && n.Votes() })
}

// heldLocks returns the values of locks of other processes, by key.
func heldLocks(ctx context.Context, v *view) map[string]string {
	all, err := v.locker.List(ctx, "")
	if err != nil {
		return nil
	}
	held := map[string]string{}
	for _, l := range all {
		if l.State == lock.Held && !strings.HasPrefix(l.Key, "redlock-drill-") {
			held[l.Key] = fmt.Sprint(l.Holder.Process, l.Holder.Host, l.Holder.PID, l.Holder.Since)
		}
	}
	return held
}

// report prints the effects of the outage.
func (d *drill) report(before, after map[string]string) {
	var rows [][]string
	for i, name := range []string{"before", "during", "after"} {
		p := d.phases[i]
		slices.Sort(p.took)
		row := []string{name, thousands(len(p.took)), "-", "-", thousands(p.refused)}
		if len(p.took) > 0 {
			row[2], row[3] = brief(quantile(p.took, 0.5)), brief(quantile(p.took, 1))
		}
		rows = append(rows, row)
	}
	fmt.Fprintln(stdout)
	table(stdout, []string{"PHASE", ">LOCKS", ">MEDIAN", ">LONGEST", ">REFUSED"}, rows)
	fmt.Fprintln(stdout)
	if before == nil || after == nil {
		fmt.Fprintln(stdout, "The locks of others could not be listed: the user of the nodes lacks +scan, or too few nodes answered.")
	} else {
		same := 0
		for key, holder := range before {
			if after[key] == holder {
				same++
			}
		}
		fmt.Fprintf(stdout, "%s held before; %s by the same holder after. The others were released, or lost: see the holders' logs for \"lock lost\".\n",
			plural(len(before), "lock of others was", "locks of others were"), plural(same, "is held", "are held"))
	}
}

// refused returns why locks of the drill were refused, or nil if none was.
func (d *drill) refused() error {
	why := cmp.Or(d.phases[0].why, d.phases[1].why, d.phases[2].why)
	if why == nil {
		return nil
	}
	return fmt.Errorf("locks were refused: %w", why)
}
