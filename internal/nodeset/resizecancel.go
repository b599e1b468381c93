package nodeset

// planCancel takes back what was proposed and counts nowhere yet.
func planCancel(nodes []resizeNode) (writes []resizeWrite, err error) {
	top, err := newestStep(nodes)
	if err != nil {
		return nil, err
	}
	if top.was != (record{}) {
		return nil, unsafeResize("the step to %s is already in effect; finish it with redlock resize, and then reverse it with another change", top.record)
	}
	at, err := placesOf(nodes, top)
	if err != nil {
		return nil, err
	}
	r := planner{nodes: nodes, at: at, top: top}
	if err := r.need("a proposal is taken back on all nodes; see why it does not answer", top.record.members()...); err != nil {
		return nil, err
	}
	for i, n := range nodes {
		if n.met && n.mark.to != (record{}) {
			m := n.mark
			m.to = record{}
			writes = append(writes, resizeWrite{i, m})
		}
	}
	return writes, nil
}
