package nodeset

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/internal/configerr"
	"github.com/venta-hq/redlock/internal/errs"
	"github.com/venta-hq/redlock/internal/marks"
)

// Resize changes which nodes are a set, by one, while programs use it. It is
// made by NewResize.
type Resize struct {
	cfg    Config
	nodes  []*resizeTarget
	say    func(format string, args ...any)
	change resizeChange

	// Gone: the removed node will never answer again. Force: do not wait for
	// programs with the old list.
	Gone, Force bool
	// Records is how long programs keep records: checkpoints, outcomes of jobs,
	// sessions. 0: they keep none, or may lose them.
	Records time.Duration

	last string // what was said
}

// resizeTarget is a node that takes part.
type resizeTarget struct {
	name    string
	client  *redis.Client
	watched time.Time // since when its memory is known
	memory  string
	facts   facts
	err     error // why it was not met
}

// NewResize prepares a resize of the set that cfg lists: add is the URL of a
// node to add, remove the name of one to remove; one of them, or none, to go on
// with what was begun. say is called with what happens, and why.
func NewResize(cfg Config, add, remove string, say func(format string, args ...any)) (*Resize, error) {
	cfg = cfg.withDefaults()
	targets, err := cfg.targets()
	if err != nil {
		return nil, err
	}
	r := &Resize{cfg: cfg, say: say, change: resizeChange{remove: url.QueryEscape(remove)}}
	if remove != "" && !slices.ContainsFunc(targets, func(o target) bool { return o.name == remove }) {
		return nil, configerr.Field("--remove", "%s is not one of the nodes that are listed; redlock nodes lists their names", remove)
	}
	if add != "" {
		t, err := parseURL(add)
		if err != nil {
			return nil, configerr.Field("--add", "%v", err)
		}
		r.change.add = url.QueryEscape(t.name)
		if !slices.ContainsFunc(targets, func(o target) bool { return o.name == t.name }) {
			targets = append(targets, t)
		}
	}
	for _, t := range targets {
		client, single := t.open(tuning{timeout: cfg.NodeTimeout, lifetime: cfg.lifetime(), onConnect: t.nameResize}).(*redis.Client)
		if !single || t.canFailOver {
			r.Close()
			return nil, configerr.Field("Config.URLs", "node %s is a Redis Cluster, or behind Sentinel; "+fixUnused, t.name)
		}
		r.nodes = append(r.nodes, &resizeTarget{name: t.name, client: client})
	}
	return r, nil
}

// Close closes the connections.
func (r *Resize) Close() {
	for _, n := range r.nodes {
		_ = n.client.Close()
	}
}

// read asks all nodes how far they have come.
func (r *Resize) read(ctx context.Context) []resizeNode {
	all := make([]resizeNode, len(r.nodes))
	var wg sync.WaitGroup
	for i, n := range r.nodes {
		wg.Go(func() { all[i] = n.read(ctx, 4*r.cfg.NodeTimeout, r.cfg.quarantine()) })
	}
	wg.Wait()
	return all
}

// read asks the node for its mark. One without a place is shown with the mark
// that it would be given.
func (n *resizeTarget) read(ctx context.Context, within, quarantine time.Duration) resizeNode {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	found := resizeNode{name: url.QueryEscape(n.name)}
	cn := n.client.Conn()
	defer cn.Close()
	f, err := askFacts(ctx, cn)
	if n.err = errors.Join(err, f.unfit()); n.err != nil {
		n.err = credentials(n.err)
		return found
	}
	text, err := cn.Get(ctx, marks.Key).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		n.err = credentials(err)
		return found
	}
	text, m, err := n.marked(ctx, cn, text, &f, quarantine)
	if err != nil {
		n.err = credentials(err)
		return found
	}
	n.facts = f
	if n.memory != m.memory {
		n.memory, n.watched = m.memory, time.Now()
	}
	found.met, found.text, found.mark, found.now = true, text, m, stampAt(time.Now(), f.offset())
	return found
}

// ripe reports whether the node votes, as far as its mark shows.
func (n *resizeTarget) ripe(m mark, quarantine time.Duration) bool {
	return m.ripe(stampAt(time.Now(), n.facts.offset()), trust{watched: time.Since(n.watched), quarantine: quarantine})
}

// write writes a mark, unless the node has another by now.
func (r *Resize) write(ctx context.Context, from []resizeNode, w resizeWrite) error {
	n := r.nodes[w.node]
	ctx, cancel := context.WithTimeout(ctx, 2*r.cfg.NodeTimeout)
	defer cancel()
	next := w.next.String()
	switch text, err := n.client.Eval(ctx, swapMark, []string{marks.Key}, from[w.node].text, next).Text(); {
	case err != nil:
		n.err = fmt.Errorf("it is unknown whether its mark was written: %w; run redlock resize again", err)
		return &NodeError{n.name, n.err}
	case text != next:
		return errRaced
	}
	return nil
}

// tell says something once.
func (r *Resize) tell(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); text != r.last {
		r.last = text
		r.say("%s", text)
	}
}

// pace is how often a resize looks whether what it waits for has come.
func (r *Resize) pace() time.Duration { return min(time.Second, r.cfg.quarantine()/16) }

// Run does what is left to do. It can be called again, by any process, after it
// has ended at any point. Once it has begun, a node that does not answer ends
// it only after a quarantine.
func (r *Resize) Run(ctx context.Context) error {
	st := resizeState{gone: r.Gone}
	if r.Records > 0 { // a program whose list is old finds that out before a quarantine is over
		st.records = r.Records + r.cfg.quarantine()
	}
	var wait settling
	var well time.Time // when all went well last; zero: never
	for {
		done, err := r.advance(ctx, &st, &wait)
		switch {
		case ctx.Err() != nil:
			return errs.Ended(ctx)
		case done:
			return nil
		case err == nil:
			well = time.Now()
		case errors.Is(err, errRaced):
		case errors.Is(err, ErrConfig):
			return err
		case well.IsZero() || !passes(err) || time.Since(well) > r.cfg.quarantine():
			return errs.Errorf("redlock: resize: %w", err)
		default:
			r.await(err)
			r.pause(ctx)
		}
	}
}

// await says what Run waits for after an error that may pass.
func (r *Resize) await(err error) {
	most := r.cfg.quarantine().Round(time.Second)
	if silent := r.silent(); len(silent) > 0 {
		r.tell("Waiting for an answer from %s, for %v at most.", strings.Join(silent, ", "), most)
	} else { // all answer, and one of them has another's place
		r.tell("Waiting, for %v at most: %v", most, err)
	}
}

// advance looks at all nodes, and does what comes next.
func (r *Resize) advance(ctx context.Context, st *resizeState, wait *settling) (done bool, err error) {
	nodes := r.read(ctx)
	st.settled = wait.over(time.Now(), r.cfg.quarantine())
	plan, err := planResize(nodes, r.change, *st)
	if err != nil {
		return false, r.explain(err)
	}
	if plan.kind == resizeDone {
		r.tell("The set has %s.", plan.old)
		return true, nil
	}
	programs, err := r.programs(ctx)
	if err != nil {
		return false, err
	}
	if err := programs.outlast(r.cfg.MaxTTL); err != nil {
		return false, err
	}
	wait.saw(plan, time.Now())
	switch plan.kind {
	case resizeSettle:
		r.tell("Waiting %v, until every lock from before the last change has expired: locks of sizes that differ by two do not exclude each other.", r.cfg.quarantine().Round(time.Second))
		r.pause(ctx)
	case resizeExpire:
		r.tell("Waiting until what programs recorded before the last change has expired, until %s at the latest: of records that few nodes have, the last copy may be on the node to be removed. "+
			"You can stop this command, and run it again then. Give --records D if programs keep no record for longer than D, or --records 0s if they keep none.", time.Now().Add(plan.left+time.Minute).Format("2006-01-02 15:04"))
		r.pause(ctx)
	case resizeRoll:
		if r.roll(ctx, nodes, plan, programs) {
			st.rolled = plan.at
		}
	default:
		r.announce(plan, programs)
		err = r.apply(ctx, nodes, plan)
	}
	return false, err
}

// passes reports whether err is of a node that did not answer, and may answer
// the next time.
func passes(err error) bool {
	var refused *resizeError
	if errors.As(err, &refused) {
		return refused.absent
	}
	return !answered(err)
}

// silent returns the names of the nodes that did not answer, except a removed
// node that is gone.
func (r *Resize) silent() (names []string) {
	for _, n := range r.nodes {
		if gone := r.Gone && url.QueryEscape(n.name) == r.change.remove; n.err != nil && !gone {
			names = append(names, n.name)
		}
	}
	return names
}

func (r *Resize) announce(plan resizePlan, programs connected) {
	var names []string
	for _, w := range plan.writes {
		names = append(names, r.nodes[w.node].name)
	}
	on := strings.Join(names, ", ")
	switch plan.kind {
	case resizeRestore:
		r.tell("Bringing %s to the size of the others: %s.", on, plan.old)
	case resizePropose:
		r.tell("Proposing %s to %s. Nothing changes for programs yet; the proposal keeps other resizes out.%s", plan.to, on, programs.untold())
	case resizeJoin:
		r.tell("Both lists are now in effect, on %s: %s, and %s.", on, plan.old, plan.to)
	case resizeFinish:
		r.tell("Only the new list is now in effect, on %s: %s. Programs with the old one are refused.", on, plan.to)
	}
}

// apply writes the marks of a plan, in order.
func (r *Resize) apply(ctx context.Context, nodes []resizeNode, plan resizePlan) error {
	for _, w := range plan.writes {
		if err := r.write(ctx, nodes, w); err != nil {
			return err
		}
	}
	return nil
}

func (r *Resize) pause(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(r.pace()):
	}
}

// roll reports whether no program has the old list. Otherwise it lists the
// programs that do, and waits a moment.
func (r *Resize) roll(ctx context.Context, nodes []resizeNode, plan resizePlan, programs connected) (rolled bool) {
	voting := 0
	for i, n := range nodes {
		if n.met && plan.to.has(n.place(plan.to.set)) && r.nodes[i].ripe(n.mark, r.cfg.quarantine()) {
			voting++
		}
	}
	if len(plan.to.members()) != voting {
		r.tell("Waiting until all nodes of the new list vote, for %v at most: a node that was added does not vote before a quarantine is over. Do not change the programs yet.", r.cfg.quarantine().Round(time.Second))
		r.pause(ctx)
		return false
	}
	if r.Force {
		r.tell("Not looking for programs with the old list: they lose their locks, and lock nothing until they are restarted with the new one.")
		return true
	}
	old := programs.with(plan.old)
	if len(old) == 0 {
		r.tell("No program with the old list is connected.%s", programs.untold())
		return true
	}
	r.tell("Give all programs the new list, %s, and restart them. Waiting for those with the old one, %s:\n%s", plan.to, plan.old, strings.Join(old, "\n"))
	r.pause(ctx)
	return false
}

// explain adds to a refusal which nodes did not answer, and why.
func (r *Resize) explain(err error) error {
	for _, n := range r.nodes {
		if n.err != nil {
			err = fmt.Errorf("%w; %w", err, &NodeError{n.name, n.err})
		}
	}
	return err
}

// Cancel takes back a step that has been proposed and is not in effect yet. No
// other resize may run at the same time.
func (r *Resize) Cancel(ctx context.Context) error {
	nodes := r.read(ctx)
	writes, err := planCancel(nodes)
	if err != nil {
		err = r.explain(err)
	} else {
		err = r.apply(ctx, nodes, resizePlan{writes: writes})
	}
	switch {
	case err != nil:
		return errs.Errorf("redlock: resize: %w", err)
	case len(writes) == 0:
		r.tell("Nothing was proposed.")
	default:
		r.tell("The proposal is taken back.")
	}
	return nil
}
