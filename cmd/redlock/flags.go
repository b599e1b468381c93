package main

import (
	"regexp"
	"strconv"
	"strings"
)

var urlField = regexp.MustCompile(`Config\.URLs\[(\d+)\]`)

// flagNames are the flags behind the fields that the library names in its errors.
var flagNames = strings.NewReplacer(
	"redlock: bad configuration: key: ", "KEY: ",
	"redlock: bad configuration: by: ", "--as: ",
	"redlock: bad configuration: ", "",
	"the rights that cluster.Rights lists", "the rights of a user for locks (ACL SETUSER), which README.md lists",
	"Config.URLs", "--nodes",
	"Config.Prefix", "--prefix",
	"Config.Owner", "--owner",
	"Config.TTL", "--ttl",
	"Config.DoneTTL", "--done-ttl",
	"; see Config.MaxQueued", "",
	"the Cluster's MaxTTL", "the longest TTL",
)

// flagged is the text of an error of the library in the words of the command line.
func flagged(text string) string {
	text = urlField.ReplaceAllStringFunc(text, func(field string) string {
		i, _ := strconv.Atoi(urlField.FindStringSubmatch(field)[1])
		return "--nodes, URL " + strconv.Itoa(i+1)
	})
	return flagNames.Replace(text)
}
