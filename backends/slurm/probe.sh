echo '== version'
sbatch --version
echo '== partitions'
sinfo -h -o '%P|%a|%l|%F|%C' || exit
echo '== limits'
scontrol -o show partition 2>/dev/null
echo '== features'
sinfo -h -o '%P|%f'
echo '== sizes'
sinfo -h -e -o '%P|%c|%m'
echo '== nodes'
sinfo -h -N -o '%N' | sort -u | head -n 16
echo '== config'
gat_config=$(scontrol show config 2>/dev/null | grep -E '^(AccountingStorage(Enforce|Type)|MaxArraySize|SchedulerParameters)[ =]')
echo "$gat_config"
echo '== groups'
id -Gn
echo '== accounts'
case $gat_config in
*accounting_storage/none*) ;;
*) sacctmgr -n -P show assoc user="$(id -un)" format=Account 2>/dev/null | sort -u | head -n 100 ;;
esac
:
