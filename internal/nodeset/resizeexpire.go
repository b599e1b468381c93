package nodeset

import "time"

// expires returns how long it is until the next size loses no record: a
// checkpoint, the outcome of a job, a session. A quorum of nodes has it, of the
// size that was in effect when it was written, and the others need not be told.
// A node that was added is too young to deny it ([Node.Remembers]), so that
// growing loses none.
// A node that is removed may have one of the copies. After one removal, any
// quorum still has a node with a copy, if the record was on two nodes at least.
// So what was written before
//
//   - another node was removed, and
//   - the set had more than one node, if the removed node was that one
//
// must have expired. It is 0 where nothing has to be waited for.
func (r *planner) expires(plan resizePlan) (left time.Duration) {
	_, _, removed := differences(plan.old, plan.to)
	if len(removed) == 0 || plan.to.epoch <= 1 {
		return 0
	}
	lasting, leaving := 0, false        // members since before all records that are left
	another := time.Duration(1<<63 - 1) // until another member is one
	for _, id := range plan.old.members() {
		i, met := r.at[id]
		if !met && r.st.gone && id == removed[0] {
			return 0 // no wait brings back what it had
		}
		if !met {
			lasting, leaving = lasting+1, leaving || id == removed[0]
			continue
		}
		n := r.nodes[i]
		if n.mark.shrunk != (stamp{}) {
			left = max(left, r.left(n.mark.shrunk, n.now))
		}
		j := n.mark.joined()
		switch wait := r.left(j, n.now); {
		case j == (stamp{}) || wait <= 0:
			lasting, leaving = lasting+1, leaving || id == removed[0]
		default:
			another = min(another, wait)
		}
	}
	if lasting <= 1 && leaving {
		left = max(left, another)
	}
	return left
}

// left is for how long a record from before s may be left at now.
func (r *planner) left(s, now stamp) time.Duration { return max(r.st.records-s.age(now), 0) }
