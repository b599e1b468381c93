package nodeset

// expired reports whether the next size loses no record: a checkpoint, the
// outcome of a job, a session. A quorum of nodes has it, of the size that was in
// effect when it was written, and the others need not be told. A node that was
// added is too young to deny it ([Node.Remembers]), so that growing loses none.
// A node that is removed may have one of the copies. After one removal, any
// quorum still has a node with a copy, if the record was on two nodes at least.
// So what was written before
//
//   - another node was removed, and
//   - the set had more than one node, if the removed node was that one
//
// must have expired.
func (r *planner) expired(plan resizePlan) bool {
	_, _, removed := differences(plan.old, plan.to)
	if len(removed) == 0 || plan.to.epoch <= 1 {
		return true
	}
	lasting, leaving := 0, false // members since before all records that are left
	for _, id := range plan.old.members() {
		i, met := r.at[id]
		if !met {
			lasting, leaving = lasting+1, leaving || id == removed[0]
			continue
		}
		n := r.nodes[i]
		if n.mark.shrunk != (stamp{}) && r.recent(n.mark.shrunk, n.now) {
			return false
		}
		if j := n.mark.joined(); j == (stamp{}) || !r.recent(j, n.now) {
			lasting, leaving = lasting+1, leaving || id == removed[0]
		}
	}
	return lasting > 1 || !leaving
}

// recent reports whether a record from before s may be left at now.
func (r *planner) recent(s, now stamp) bool { return s.age(now) < r.st.records }
