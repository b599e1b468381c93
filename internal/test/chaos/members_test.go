//go:build unix

package chaos

import (
	"slices"
	"testing"
)

func TestMembers_FaultsHappenToTheNodesOfBothLists(t *testing.T) {
	for _, tt := range []struct {
		name      string
		now, next []int
		client    int
		drawn     []int
		want      []int
		outage    bool
	}{
		{"the first that is drawn", []int{0, 1, 2}, []int{0, 1, 2, 4}, Everybody, []int{5, 3, 4, 1}, []int{4}, false},
		{"one that is removed", []int{0, 1, 2, 4}, []int{0, 1, 4}, Everybody, []int{3, 2, 0}, []int{2}, false},
		{"one of two", []int{0, 1, 2}, []int{0, 1}, Everybody, []int{5, 1, 0}, []int{1}, true},
		{"one of one", []int{0}, []int{0, 3}, Everybody, []int{3, 0}, []int{3}, true},
		{"all, of one client", []int{0}, []int{0, 3}, 2, []int{3, 1, 0}, []int{3, 0}, false},
		{"a client", []int{0}, []int{0, 3}, 2, nil, nil, false},
	} {
		m := &members{now: tt.now, next: tt.next}
		f := m.among(Fault{Nodes: tt.drawn, Client: tt.client})
		if !slices.Equal(f.Nodes, tt.want) || f.outage != tt.outage {
			t.Errorf("%s: nodes %v, without a quorum %t", tt.name, f.Nodes, f.outage)
		}
	}
}
