//go:build linux

package dbserver

import "testing"

func TestNewest_ComparesVersionsAsNumbers(t *testing.T) {
	for _, tt := range []struct {
		want     string
		versions []string
	}{
		{"15", []string{"15", "9.6"}},
		{"15", []string{"9.6", "15"}},
		{"10.11", []string{"10.11", "10.9", "9"}},
		{"10.1", []string{"10", "10.1"}},
		{"17", []string{"17", "current", "9"}},
		{"9", []string{"9"}},
	} {
		var paths []string
		for _, v := range tt.versions {
			paths = append(paths, "/usr/lib/postgresql/"+v+"/bin/postgres")
		}
		if got, want := newest(paths), "/usr/lib/postgresql/"+tt.want+"/bin/postgres"; got != want {
			t.Errorf("of %v: %s, want %s", tt.versions, got, want)
		}
	}
}
