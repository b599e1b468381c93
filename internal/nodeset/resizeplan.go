package nodeset

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// How a set gets or loses one node while programs use it. Each node's mark says
// how far it has come:
//
//	final     one size counts. All nodes hold this before another step
//	          begins, and a quarantine has passed since, so that no grant
//	          under an earlier size is left: sizes that are two steps apart
//	          share too little.
//	proposed  the next size is written beside it, and counts nowhere. Once it
//	          stands on all nodes of both sizes, and on a quorum of the old
//	          one, no other next size can come as far: of two that each drop a
//	          node, quorums may be apart.
//	joint     both sizes count. Of steps of one, a quorum of the one and a
//	          quorum of the other share a node.
//	final     the new size alone counts. Programs with the old list are refused
//	          from now on.
//
// [planResize] decides on the next writes from the marks alone, so any caller
// continues what another has begun. Every write is a compare-and-set on the
// mark that the decision was made from.

// resizeNode is a node as a resize finds it.
type resizeNode struct {
	name string // as records have it, of the URL
	met  bool
	text string
	mark mark  // made, where the node has none yet
	now  stamp // when it was read
}

// place is which node of the set it is, or would be.
func (n resizeNode) place(set string) string {
	if n.mark.final && n.mark.record.set == set {
		return n.mark.id
	}
	return n.name
}

// resizeChange is what is to come of a set. Both are "" for whatever was begun.
type resizeChange struct{ add, remove string }

func (c resizeChange) none() bool { return c == resizeChange{} }

// placed is the change with the places of its nodes, which the caller may call
// otherwise than the set does.
func (c resizeChange) placed(nodes []resizeNode, set string) resizeChange {
	was := c
	for _, n := range nodes {
		switch {
		case !n.met:
		case n.name == was.add:
			c.add = n.place(set)
		case n.name == was.remove:
			c.remove = n.place(set)
		}
	}
	return c
}

// done reports whether the change was made before the step under way began.
// What is called again then goes on with that step.
func (c resizeChange) done(old, to record) bool {
	if c.add != "" {
		return old.has(c.add) && to.has(c.add)
	}
	return !old.has(c.remove) && !to.has(c.remove)
}

// resizeKind is what a resize does next.
type resizeKind int

const (
	resizeDone    resizeKind = iota // there is nothing left to do
	resizeRestore                   // bring all nodes to the newest step
	resizeSettle                    // wait until no grant under an earlier size is left
	resizeExpire                    // wait until no record under an earlier size is left
	resizePropose                   // write the next size beside the present one
	resizeJoin                      // have both sizes count
	resizeRoll                      // wait until no program has the old list
	resizeFinish                    // have the new size alone count
)

// resizeWrite is a mark to write.
type resizeWrite struct {
	node int
	next mark
}

// resizePlan is what a resize does next.
type resizePlan struct {
	kind   resizeKind
	at     step   // how far the set has come
	old    record // the size that counts; when done, the one there is
	to     record // the next
	writes []resizeWrite
	left   time.Duration // until records have expired
}

// fixUnused is what to do with a set that cannot be resized while it is used.
const fixUnused = "such a set cannot be resized while it is used: stop every program that uses it, delete redlock:mark on each node, and start them with the new list"

// resizeError is why a set is not resized.
type resizeError struct {
	why    string
	absent bool // a node is needed that did not answer
}

func (e *resizeError) Error() string { return e.why }

func unsafeResize(format string, args ...any) error {
	return &resizeError{why: fmt.Sprintf(format, args...)}
}

// planResize decides what a resize does next.
func planResize(nodes []resizeNode, change resizeChange, st resizeState) (resizePlan, error) {
	top, err := newestStep(nodes)
	if err != nil {
		return resizePlan{}, err
	}
	at, err := placesOf(nodes, top)
	if err != nil {
		return resizePlan{}, err
	}
	r := planner{nodes, at, top, change.placed(nodes, top.record.set), st}
	if top.was != (record{}) {
		return r.joint()
	}
	return r.final()
}

// newestStep is how far the set has come on any node.
func newestStep(nodes []resizeNode) (top step, err error) {
	for _, n := range nodes {
		s := n.mark.step()
		switch {
		case !n.met || !n.mark.final:
		case top == (step{}):
			top = s
		case top.record.set != s.record.set:
			return step{}, unsafeResize("the nodes belong to two sets, of %s and of %s; if one is not used any more, delete redlock:mark on its nodes", top.record, s.record)
		case s.above(top):
			top = s
		case !top.above(s) && s != top:
			return step{}, unsafeResize("two changes have come equally far, to %s and to %s; see which programs use which list, and stop one kind", top.record, s.record)
		}
	}
	if top == (step{}) {
		return step{}, unsafeResize("the nodes do not form a set yet; start a program that locks, and try again")
	}
	return top, nil
}

// placesOf is where each place of the set is among the nodes that were met.
func placesOf(nodes []resizeNode, top step) (map[string]int, error) {
	at := map[string]int{}
	for i, n := range nodes {
		if !n.met {
			continue
		}
		id := n.place(top.record.set)
		if other, taken := at[id]; taken {
			return nil, unsafeResize("nodes %s and %s have one place in the set: they are one server, or one has the other's data; list each server once, and empty one that is a copy (FLUSHALL)", unescaped(nodes[other].name), unescaped(n.name))
		}
		at[id] = i
	}
	return at, nil
}

// planner is a resize at one moment.
type planner struct {
	nodes  []resizeNode
	at     map[string]int
	top    step
	change resizeChange
	st     resizeState
}

// need returns an error unless all places were met.
func (r *planner) need(why string, places ...string) error {
	var missing []string
	for _, id := range places {
		if _, met := r.at[id]; !met {
			missing = append(missing, unescaped(id))
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return &resizeError{fmt.Sprintf("cannot continue without %s: %s", strings.Join(missing, ", "), why), true}
}

// brought is the mark of a node that is brought to a step. A new node of the
// set does not vote until its memory is old enough, because it may be an
// earlier node that has lost its data.
func (r *planner) brought(i int, to step) mark {
	m := r.nodes[i].mark
	if !m.final || m.record.set != to.record.set || m.removed() {
		m.state, m.added, m.listed = m.state.added(), r.nodes[i].now, stamp{}
	}
	if !m.final || m.record.set != to.record.set {
		m.id, m.final = r.nodes[i].name, true
	}
	return m.raised(to, r.nodes[i].now)
}

// behind are the writes that bring nodes to a step: those of these places that
// are not there yet.
func (r *planner) behind(to step, places ...string) (writes []resizeWrite) {
	for _, id := range places {
		i, met := r.at[id]
		if !met {
			continue
		}
		if m := r.nodes[i].mark; !m.final || m.record.set != to.record.set || to.above(m.step()) {
			writes = append(writes, resizeWrite{i, r.brought(i, to)})
		}
	}
	return writes
}

// joint is what is done while two sizes count.
func (r *planner) joint() (resizePlan, error) {
	plan := resizePlan{at: r.top, old: r.top.was, to: r.top.record}
	if err := r.asked(plan.old, plan.to); err != nil {
		return plan, err
	}
	common, added, removed := differences(plan.old, plan.to)
	if err := r.need("all nodes of the new list must answer; see why it does not answer", plan.to.members()...); err != nil {
		return plan, err
	}
	if err := r.needLeaving(removed); err != nil {
		return plan, err
	}
	if plan.writes = r.behind(r.top, slices.Concat(common, added, removed)...); len(plan.writes) > 0 {
		plan.kind = resizeJoin
		return plan, nil
	}
	if r.st.rolled != r.top {
		plan.kind = resizeRoll
		return plan, nil
	}
	plan.kind, plan.writes = resizeFinish, r.behind(step{record: plan.to}, slices.Concat(common, added, removed)...)
	return plan, nil
}

// final is what is done while one size counts.
func (r *planner) final() (resizePlan, error) {
	plan := resizePlan{at: r.top, old: r.top.record, to: r.top.record}
	if err := r.need("all nodes must have the last size before another change begins; see why it does not answer", r.others()...); err != nil {
		return plan, err
	}
	if r.top.record.has(r.change.remove) {
		if err := r.needLeaving([]string{r.change.remove}); err != nil {
			return plan, err
		}
	}
	var places []string
	for id, i := range r.at {
		if plan.old.has(id) || r.nodes[i].mark.final {
			places = append(places, id)
		}
	}
	slices.Sort(places)
	if plan.writes = r.behind(r.top, places...); len(plan.writes) > 0 {
		plan.kind = resizeRestore
		return plan, nil
	}
	next, err := r.next()
	if err != nil || next == (record{}) {
		return plan, err
	}
	if plan.to = next; next.epoch > 1 && r.st.settled != r.top {
		plan.kind = resizeSettle
		return plan, nil
	}
	if plan.left = r.expires(plan); plan.left > 0 {
		plan.kind = resizeExpire
		return plan, nil
	}
	return r.propose(plan)
}

// needLeaving returns an error unless the nodes that are removed were met, or
// the one that is asked for is gone.
func (r *planner) needLeaving(places []string) error {
	if r.st.gone && slices.Contains(places, r.change.remove) {
		return nil
	}
	return r.need("it is being removed; list and start it, or give --remove and --gone if it will never answer again", places...)
}

// others are the places of the present size that stay.
func (r *planner) others() []string {
	return slices.DeleteFunc(r.top.record.members(), func(id string) bool { return id == r.change.remove })
}

// propose writes the next size in addition to the present one, and continues
// once it is on every node.
func (r *planner) propose(plan resizePlan) (resizePlan, error) {
	common, added, removed := differences(plan.old, plan.to)
	if err := r.need("it is being added; see why it does not answer", added...); err != nil {
		return plan, err
	}
	answer := 0
	for _, id := range slices.Concat(common, removed) {
		i, met := r.at[id]
		if !met {
			continue
		}
		answer++
		if m := r.nodes[i].mark; m.to != plan.to {
			m.to = plan.to
			plan.writes = append(plan.writes, resizeWrite{i, m})
		}
	}
	switch {
	case answer < plan.old.quorum:
		return plan, unsafeResize("of the nodes of the old list %d answer, and its quorum is %d; start the node that is being removed", answer, plan.old.quorum)
	case len(plan.writes) > 0:
		plan.kind = resizePropose
	default:
		plan.kind, plan.writes = resizeJoin, r.behind(step{plan.to, plan.old}, slices.Concat(common, added, removed)...)
	}
	return plan, nil
}

// next is the size to come: the one that was proposed, or else the requested
// one; zero for none.
func (r *planner) next() (record, error) {
	asked, err := r.wanted()
	if err != nil {
		return record{}, err
	}
	for id, i := range r.at {
		to := r.nodes[i].mark.to
		switch {
		case to == (record{}) || !r.top.record.has(id):
		case asked == (record{}):
			asked = to
		case asked != to:
			return record{}, unsafeResize("another resize has been proposed, to %s; continue it with redlock resize and no change, or take it back with redlock resize --cancel --alone", to)
		}
	}
	return asked, nil
}

// wanted is the size that is asked for; zero for none, or if it is the one
// there is.
func (r *planner) wanted() (record, error) {
	now := r.top.record
	members := now.members()
	switch c := r.change; {
	case c.add != "" && now.has(c.add), c.remove != "" && !now.has(c.remove), c.none():
		return record{}, nil
	case now.quorum != Quorum(len(members)):
		return record{}, unsafeResize("the set has a quorum of %d, above the majority; "+fixUnused, now.quorum)
	case c.add != "":
		members = append(members, c.add)
	case len(members) == 1:
		return record{}, unsafeResize("%s is the last node, and a set has at least one; add another first", unescaped(c.remove))
	default:
		members = slices.DeleteFunc(members, func(id string) bool { return id == c.remove })
	}
	slices.Sort(members)
	return record{set: now.set, epoch: now.epoch + 1, quorum: Quorum(len(members)), names: strings.Join(members, ",")}, nil
}

// asked returns an error if another step is under way than the one that is
// asked for.
func (r *planner) asked(old, to record) error {
	_, added, removed := differences(old, to)
	if r.change.none() || r.change.done(old, to) || slices.Contains(added, r.change.add) || slices.Contains(removed, r.change.remove) {
		return nil
	}
	return unsafeResize("another resize is in progress, from %s to %s; finish it first with redlock resize and no change", old, to)
}

var errRaced = errors.New("the marks of the nodes have changed in the meantime: another redlock resize runs; wait until it has ended, and try again")
