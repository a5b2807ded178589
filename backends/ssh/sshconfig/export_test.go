package sshconfig

// Parsed makes a Host of what ssh -G printed.
func Parsed(text []byte, home, host string) (Host, error) {
	v := parse(text)
	v.rehome("/home/account", home)
	return v.host(query{home: home, host: host})
}
