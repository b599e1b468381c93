//go:build race

package quorumlock

const raceDetector = true
