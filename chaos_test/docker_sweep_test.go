//go:build unix

package chaos_test

import (
	"maps"
	"os/exec"
	"strconv"
	"testing"
	"time"
)

// TestSweep_RemovesOnlyAbandonedContainers is about the labels that decide which containers are removed.
func TestSweep_RemovesOnlyAbandonedContainers(t *testing.T) {
	ended := exec.Command("true")
	if err := ended.Run(); err != nil {
		t.Skip(err)
	}
	own := (&engine{}).labels()
	with := func(changes ...string) map[string]string {
		labels := maps.Clone(own)
		for i := 0; i < len(changes); i += 2 {
			labels[changes[i]] = changes[i+1]
		}
		return labels
	}
	gone := strconv.Itoa(ended.Process.Pid)
	past := strconv.FormatInt(time.Now().Add(-time.Second).Unix(), 10)
	for _, tt := range []struct {
		name   string
		labels map[string]string
		want   bool
	}{
		{"our own", own, true},
		{"of a process that ended", with(labelPID, gone), true},
		{"of a process that runs", with(labelPID, "1"), false},
		{"of a process elsewhere", with(labelHost, "another", labelPID, gone), false},
		{"of elsewhere, its time over", with(labelHost, "another", labelUntil, past), true},
		{"of a process that runs, its time over", with(labelPID, "1", labelUntil, past), true},
		{"without our labels", map[string]string{"other": "label"}, false},
	} {
		if got := abandoned(tt.labels); got != tt.want {
			t.Errorf("a container %s: abandoned = %t, want %t", tt.name, got, tt.want)
		}
	}
}
