case $(qstat -help 2>&1 </dev/null | head -n 1) in
*GE*[0-9].[0-9]*)
	echo '== other'
	qstat -help 2>&1 | head -n 1
	exit
	;;
esac
echo '== version'
qstat --version 2>&1 | head -n 1
echo '== server'
qstat -B -f || exit
echo '== queues'
qstat -Q -f || exit
echo '== nodes'
pbsnodes -a 2>/dev/null | awk '/^[^ \t]/ {print; next} $1 == "state" || $1 == "resources_available.ncpus" || $1 == "resources_assigned.ncpus" {print $1, $3}' | head -n 20000
echo '== groups'
id -Gn
echo '== end'
