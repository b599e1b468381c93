package main

import (
	"cmp"
	"runtime/debug"
)

// A release is built with -ldflags "-X main.release=v1.2.3 -X main.commit=…".
// Otherwise both come from the build information of the go command.
var release, commit string

// version returns the text that --version prints after the name of the program.
func version() string {
	info, _ := debug.ReadBuildInfo()
	return describe(info, release, commit)
}

// describe returns the version, the commit that it was built from, and Go's
// version. It omits unknown parts.
func describe(info *debug.BuildInfo, release, commit string) string {
	if info == nil {
		info = &debug.BuildInfo{}
	}
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	text := cmp.Or(release, info.Main.Version, "(unknown)")
	if commit = cmp.Or(commit, settings["vcs.revision"]); commit != "" {
		text += ", commit " + commit[:min(12, len(commit))]
		if settings["vcs.modified"] == "true" {
			text += " with changes"
		}
	}
	if info.GoVersion != "" {
		text += ", " + info.GoVersion
	}
	return text
}
