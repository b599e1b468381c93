package main

import (
	"cmp"
	"runtime/debug"
)

// A release is built with -ldflags "-X main.release=v1.2.3 -X main.commit=…".
// Elsewhere both are what the go command recorded.
var release, commit string

// version is what --version prints behind the name of the program.
func version() string {
	info, _ := debug.ReadBuildInfo()
	return describe(info, release, commit)
}

// describe names a version, the commit it was built from, and Go's version; what
// is not known is left out.
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
