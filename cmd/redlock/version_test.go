package main

import (
	"runtime/debug"
	"strings"
	"testing"
)

func TestVersion_NamesTheReleaseAndTheCommit(t *testing.T) {
	built := func(version string, settings ...string) *debug.BuildInfo {
		info := &debug.BuildInfo{GoVersion: "go1.26.8", Main: debug.Module{Version: version}}
		for i := 0; i < len(settings); i += 2 {
			info.Settings = append(info.Settings, debug.BuildSetting{Key: settings[i], Value: settings[i+1]})
		}
		return info
	}
	const sha = "0123456789abcdef0123456789abcdef01234567"
	for _, tt := range []struct {
		name            string
		info            *debug.BuildInfo
		release, commit string
		want            string
	}{
		{"a release", built("(devel)"), "v1.2.3", sha, "v1.2.3, commit 0123456789ab, go1.26.8"},
		{"go install of a version", built("v1.2.3"), "", "", "v1.2.3, go1.26.8"},
		{"go build in a checkout", built("(devel)", "vcs.revision", sha, "vcs.modified", "false"), "", "", "(devel), commit 0123456789ab, go1.26.8"},
		{"with changes", built("(devel)", "vcs.revision", sha, "vcs.modified", "true"), "", "", "(devel), commit 0123456789ab with changes, go1.26.8"},
		{"nothing known", nil, "", "", "(unknown)"},
	} {
		if got := describe(tt.info, tt.release, tt.commit); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
	if strings.Contains(version(), "(unknown)") {
		t.Errorf("this program does not know its version: %s", version())
	}
}
